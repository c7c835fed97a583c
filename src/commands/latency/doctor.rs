//! LATENCY DOCTOR: what the events have in common, in words, and what may help against them.

use crate::server::Server;
use crate::server::config::Config;
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use std::fmt::Write;

pub fn doctor(ctx: &mut Ctx) -> Result<(), Error> {
    let text = report(ctx.server, ctx.now_ms() / 1000);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// What helps against events of these kinds.
const ADVICE: &[(&[&str], &str)] = &[
    (
        &["command"],
        "SLOWLOG GET names the commands, INFO latencystats tells what each usually takes. Most \
         likely their cost grows with the data: SCAN and its kin do in pieces what KEYS, SMEMBERS \
         and HGETALL do at once, and sorting, intersecting and long ranges are better done over \
         less.",
    ),
    (
        &["fast-command", "loop-other"],
        "Work that takes next to no time was interrupted: the server did not get its processor. \
         Look for other load on the machine, for a limit on the container's processor time, for \
         memory that was swapped out (INFO memory, and SwapTotal in /proc/meminfo), and for what \
         'redis-cli --intrinsic-latency 100' measures without a server.",
    ),
    (
        &["loop-execute"],
        "One turn of the loop had much to execute. If no 'command' event is as long, it was many \
         commands rather than a slow one: INFO commandstats tells which take the time altogether, \
         and shorter pipelines let others in between.",
    ),
    (
        &["loop-read", "loop-write"],
        "Moving bytes between clients and the server took long. CLIENT LIST shows who has large \
         requests (qbuf) or unread replies (omem); many clients at once cost a system call each, \
         which pipelines save.",
    ),
    (
        &["loop-deliver"],
        "A message or a change had many takers. PUBSUB NUMSUB counts those who listen to a \
         channel, INFO clients those who wait for keys.",
    ),
    (
        &["loop-accept"],
        "Many clients connected at once. Connections that are kept and shared cost less than new \
         ones.",
    ),
    (
        &["expire-cycle"],
        "Many keys were due at once, or the machine was busy while they were removed. A random \
         part in each time to live spreads them.",
    ),
    (
        &["loop-cron"],
        "The periodic work took long. It asks the system for the memory in use, which is slow on \
         some virtual machines.",
    ),
    (
        &["aof-write", "aof-fsync"],
        "The disk of the append-only file is slow at times. Clients only feel that when more is \
         written meanwhile than 'aof-ring-size' holds. Other programs that write to the same disk, \
         or a disk that is reached over a network, are the usual reasons.",
    ),
    (
        &["aof-fsync-always"],
        "With 'appendfsync always' each change waits for the disk. Under 'everysec' none does, \
         and what may be lost is the last second, when the machine (not only the server) dies.",
    ),
    (
        &["loop-aof"],
        "Handing changes to the append-only file took long: the pages of its ring had to wait for \
         the disk they are on. 'aof-ring-dir' can put the ring into memory (a tmpfs).",
    ),
];

fn report(server: &Server, now_s: i64) -> String {
    let threshold_ms = server.config.latency_monitor_threshold;
    if server.latency.is_empty() {
        return match threshold_ms {
            0 => "Nothing is being watched. CONFIG SET latency-monitor-threshold <milliseconds> \
                  has the server remember what takes so long or longer.\n"
                .to_string(),
            _ => format!("All is well: nothing has taken {threshold_ms} ms or longer.\n"),
        };
    }
    let mut text = "What took long:\n\n".to_string();
    for (number, (event, series)) in server.latency.iter().enumerate() {
        let summary = series.summary(now_s);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{}. {event}: {} in the samples, {} ms each (give or take {} ms), one every {:.1} s. \
             The longest ever took {} ms.",
            number + 1,
            summary.samples,
            summary.mean_ms,
            summary.deviation_ms,
            summary.period_s as f64 / summary.samples as f64,
            series.worst_ms
        );
    }
    text.push_str("\nWhat may help:\n\n");
    let has = |event: &&str| server.latency.get(event.as_bytes()).is_some();
    let slowlog = slowlog_advice(&server.config).filter(|_| has(&"command"));
    let known = ADVICE.iter().filter(|(events, _)| events.iter().any(has));
    for advice in slowlog.iter().map(String::as_str).chain(known.map(|(_, advice)| *advice)) {
        let _ = writeln!(text, "- {advice}");
    }
    text
}

/// The slow log is of little use if it remembers less than the latency monitor.
fn slowlog_advice(config: &Config) -> Option<String> {
    let monitor_us = config.latency_monitor_threshold.saturating_mul(1000);
    let state = match u64::try_from(config.slowlog_log_slower_than) {
        Err(_) => "remembers nothing".to_string(),
        Ok(us) if us > monitor_us => format!("only remembers what takes {us} us or longer"),
        Ok(_) => return None,
    };
    (monitor_us > 0).then(|| {
        format!(
            "The slow log {state}: 'CONFIG SET slowlog-log-slower-than {monitor_us}' has it name \
             the commands behind these events."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::ADVICE;
    use crate::commands::testing::Run;
    use crate::server::phases::Phase;

    fn doctor(run: &mut Run) -> String {
        let reply = run.run("latency doctor");
        reply.split_once("\r\n").unwrap().1.trim_end_matches("\r\n").to_string()
    }

    #[test]
    fn nothing_is_told_of_nothing() {
        let mut run = Run::new();
        assert!(doctor(&mut run).contains("CONFIG SET latency-monitor-threshold"));
        run.run("config set latency-monitor-threshold 50");
        assert_eq!(doctor(&mut run), "All is well: nothing has taken 50 ms or longer.\n");
    }

    #[test]
    fn events_are_described_with_advice() {
        let mut run = Run::debugging();
        run.run("config set latency-monitor-threshold 50 slowlog-log-slower-than 60000");
        for command in ["debug sleep 0.3", "debug sleep 1", "debug sleep 0.7"] {
            run.run(command);
        }
        let text = doctor(&mut run);
        let line = "1. command: 3 in the samples, 666 ms each (give or take 244 ms), one every \
                    0.7 s. The longest ever took 1000 ms.\n";
        assert!(text.contains(line), "{text}");
        let slowlog = "only remembers what takes 60000 us or longer: 'CONFIG SET \
                       slowlog-log-slower-than 50000'";
        assert!(text.contains(slowlog) && text.contains("- SLOWLOG GET "), "{text}");
        assert_eq!(text.matches("\n- ").count(), 2, "{text}");
        run.run("config set slowlog-log-slower-than -1");
        assert!(doctor(&mut run).contains("- The slow log remembers nothing"));
        run.run("config set slowlog-log-slower-than 50000");
        assert!(!doctor(&mut run).contains("- The slow log"));
    }

    #[test]
    fn there_is_advice_for_each_event() {
        let phases = [
            Phase::Accept,
            Phase::Read,
            Phase::Execute,
            Phase::Deliver,
            Phase::Expire,
            Phase::Cron,
            Phase::Aof,
            Phase::Write,
            Phase::Other,
        ];
        let events = phases.map(Phase::event);
        let others = ["command", "fast-command", "aof-write", "aof-fsync", "aof-fsync-always"];
        for event in events.into_iter().chain(others) {
            assert!(ADVICE.iter().any(|(events, _)| events.contains(&event)), "{event}");
        }
    }
}
