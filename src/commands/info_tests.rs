//! INFO: fields, their order and their values.

use super::testing::Run;
use crate::server::loading::LoadingInfo;
use crate::server::phases::Phase;

/// See the first line of the file; a section's title is `# Title`.
fn redis_fields() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("info-7.2-fields.txt").lines().skip(1);
    lines.filter(|line| !line.is_empty())
}

fn fields(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split_once(':').map_or(line, |(name, _)| name)).collect()
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// A reply's text, without the length before it.
fn info(run: &mut Run, sections: &str) -> String {
    let reply = run.run(&format!("info {sections}"));
    let (header, text) = reply.split_once("\r\n").unwrap();
    let text = text.strip_suffix("\r\n").unwrap();
    assert_eq!(header, format!("${}", text.len()));
    text.to_string()
}

fn titles(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# ")).collect()
}

#[test]
fn fields_are_redis_s_in_its_order() {
    let mut run = Run::new();
    run.run("set a 1");
    let ours = info(&mut run, "everything debug");
    let ours = fields(&ours);
    let mut at = 0;
    for name in redis_fields() {
        let found = ours.iter().position(|ours| *ours == name);
        let found = found.unwrap_or_else(|| panic!("{name} is missing"));
        assert!(found >= at, "{name} comes too early");
        at = found;
    }
}

#[test]
fn the_usual_sections_are_redis_s() {
    let mut run = Run::new();
    let usual = [
        "Server",
        "Clients",
        "Memory",
        "Persistence",
        "Stats",
        "Replication",
        "CPU",
        "Modules",
        "Errorstats",
        "Cluster",
        "Keyspace",
    ];
    assert_eq!(titles(&info(&mut run, "")), usual);
    assert_eq!(titles(&info(&mut run, "default")), usual);
    assert_eq!(titles(&info(&mut run, "CPU Default")), usual);
    let all = info(&mut run, "all");
    assert_eq!(titles(&all), titles(&info(&mut run, "everything")));
    for title in ["Commandstats", "Latencystats", "Loop"] {
        assert!(titles(&all).contains(&title), "{title}");
    }
    assert!(!titles(&all).contains(&"Debug"));
    assert_eq!(titles(&info(&mut run, "debug loop")), ["Loop", "Debug"]);
}

#[test]
fn times_are_told_in_microseconds() {
    let mut run = Run::debugging();
    run.run("debug sleep 0.25");
    run.run("debug sleep 0.05");
    let text = info(&mut run, "latencystats");
    // The ends of the buckets that 50 and 250 ms are in.
    let wanted = "p50=50069.503,p99=250609.663,p99.9=250609.663";
    assert_eq!(field(&text, "latency_percentiles_usec_debug"), wanted);
    run.run("config set latency-tracking-info-percentiles \"0 100 33.125\"");
    let text = info(&mut run, "latencystats");
    let wanted = "p0=49807.360,p100=250609.663,p33.125=50069.503";
    assert_eq!(field(&text, "latency_percentiles_usec_debug"), wanted);
    run.instance.server.phases.begin(1_000_000, 0);
    run.instance.server.phases.end(Phase::Execute, 3_500_000);
    run.instance.server.phases.finish(7);
    let text = info(&mut run, "loop debug stats");
    let wanted = "count=1,usec=2500,p0=2490.368,p100=2500.000,p33.125=2500.000,max=2500.000";
    assert_eq!(field(&text, "loop_execute"), wanted);
    assert_eq!(field(&text, "eventloop_duration_cmd_sum"), "2500");
    assert_eq!(field(&text, "eventloop_duration_max"), "2500");
    assert_eq!(field(&text, "eventloop_cmd_per_cycle_max"), "7");
    run.run("config set latency-tracking-info-percentiles \"\"");
    let text = info(&mut run, "loop");
    assert_eq!(field(&text, "loop_execute"), "count=1,usec=2500,max=2500.000");
}

#[test]
fn sections_are_chosen_by_name() {
    let mut run = Run::new();
    assert_eq!(info(&mut run, "cluster"), "# Cluster\r\ncluster_enabled:0\r\n");
    assert_eq!(
        info(&mut run, "keyspace CLUSTER nosuch"),
        "# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\n"
    );
    assert_eq!(run.run("info nosuch"), "$0\r\n\r\n");
    run.set_resp3(true);
    assert_eq!(run.run("info nosuch"), "=4\r\ntxt:\r\n");
    assert_eq!(run.run("info modules"), "=15\r\ntxt:# Modules\r\n\r\n");
}

#[test]
fn commands_and_errors_are_counted() {
    let mut run = Run::new();
    run.run("set a b");
    run.run("get a");
    run.run("get missing");
    run.run("config get port");
    run.run("get");
    run.run("swapdb x y");
    run.run("nosuch");
    run.run("debug digest");
    let commands = info(&mut run, "commandstats");
    let get = field(&commands, "cmdstat_get");
    assert!(get.starts_with("calls=2,usec=") && get.ends_with(",rejected_calls=1,failed_calls=0"));
    let swap = field(&commands, "cmdstat_swapdb");
    assert!(swap.ends_with(",rejected_calls=0,failed_calls=1"), "{swap}");
    assert!(commands.contains("cmdstat_config|get:calls=1,"));
    assert_eq!(info(&mut run, "errorstats"), "# Errorstats\r\nerrorstat_ERR:count=4\r\n");
    let stats = info(&mut run, "stats");
    assert_eq!(field(&stats, "keyspace_hits"), "1");
    assert_eq!(field(&stats, "keyspace_misses"), "1");
    assert_eq!(field(&stats, "total_error_replies"), "4");
    run.run("config resetstat");
    let stats = info(&mut run, "stats commandstats errorstats");
    assert_eq!(field(&stats, "keyspace_hits"), "0");
    assert_eq!(field(&stats, "total_error_replies"), "0");
    assert!(stats.contains("cmdstat_config|resetstat:calls=1"));
    assert!(stats.ends_with("# Errorstats\r\n"));
}

#[test]
fn an_error_s_code_cannot_break_its_line() {
    let mut run = Run::new();
    run.instance.server.stats.count_error(b"A:b#c\r\nd rest");
    assert_eq!(info(&mut run, "errorstats"), "# Errorstats\r\nerrorstat_A_b_c__d:count=1\r\n");
}

#[test]
fn databases_with_keys_are_listed() {
    let mut run = Run::new();
    run.run("set a 1");
    run.run("set b 1");
    run.instance.server.clients[run.client].db = 3;
    run.run("set c 1");
    let at = run.instance.keys.now_ms + 5000;
    run.instance.keys.select(3);
    run.instance.keys.edit(b"c").unwrap().set_expire_at(Some(at));
    let text = "# Keyspace\r\ndb0:keys=2,expires=0,avg_ttl=0\r\ndb3:keys=1,expires=1,avg_ttl=";
    assert_eq!(info(&mut run, "keyspace"), format!("{text}5000\r\n"));
    run.clock.advance(1500);
    assert_eq!(info(&mut run, "keyspace"), format!("{text}3500\r\n"));
    run.run("flushall");
    assert_eq!(info(&mut run, "keyspace"), "# Keyspace\r\n");
}

#[test]
fn the_server_is_described() {
    let mut run = Run::new();
    run.clock.advance(2 * 24 * 3600 * 1000 + 4000);
    let text = info(&mut run, "server");
    assert_eq!(field(&text, "process_id"), std::process::id().to_string());
    assert_eq!(field(&text, "uptime_in_seconds"), "172804");
    assert_eq!(field(&text, "uptime_in_days"), "2");
    assert_eq!(field(&text, "server_time_usec"), "1700172804000000");
    assert_eq!(field(&text, "config_file"), "");
    let hex = |text: &str| text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let run_id = field(&text, "run_id").to_string();
    assert!(hex(&run_id));
    let replication = info(&mut run, "replication");
    let replid = field(&replication, "master_replid");
    assert!(hex(replid) && replid != run_id);
    let other = info(&mut Run::new(), "server");
    assert_ne!(field(&other, "run_id"), run_id);
    assert_eq!(field(&info(&mut run, "server"), "run_id"), run_id);
}

#[test]
fn memory_adds_up() {
    let mut run = Run::new();
    let text = info(&mut run, "memory");
    let bytes = |name| field(&text, name).parse::<u64>().unwrap();
    let used = bytes("used_memory");
    assert!(used > 0 && used <= bytes("used_memory_rss"));
    assert!(used <= bytes("used_memory_peak"));
    assert_eq!(used, bytes("used_memory_overhead") + bytes("used_memory_dataset"));
    assert!(bytes("total_system_memory") > bytes("used_memory_rss"));
}

#[test]
fn loading_is_told_while_it_lasts() {
    let mut run = Run::new();
    assert_eq!(field(&info(&mut run, "persistence"), "loading"), "0");
    let began_ms = run.instance.keys.now_ms;
    run.instance.server.loading = Some(LoadingInfo { began_ms, total: 400, loaded: 100 });
    run.clock.advance(2000);
    let text = info(&mut run, "persistence");
    assert_eq!(field(&text, "loading"), "1");
    let wanted = "loading_start_time:1700000000\r\nloading_total_bytes:400\r\n\
                  loading_rdb_used_mem:0\r\nloading_loaded_bytes:100\r\n\
                  loading_loaded_perc:25.00\r\nloading_eta_seconds:6\r\n";
    assert!(text.ends_with(wanted), "{text}");
}
