//! What scripts do not show: what is logged, and events.

use crate::commands::testing::Run;

#[test]
fn events_are_those_of_redis() {
    Run::new().check_events(&[
        ("pfadd k", "new k, pfadd k"),
        ("pfadd k", ""),
        ("pfadd k a", "pfadd k"),
        ("pfadd k a", ""),
        ("pfcount k", ""),
        ("pfcount k none", "keymiss none"),
        ("pfmerge d k", "keymiss d, new d, pfadd d"),
        ("pfdebug todense d", ""),
    ]);
}

#[test]
fn what_changes_nothing_is_not_logged() {
    let mut run = Run::new();
    assert_eq!(run.propagated("pfadd k a"), "pfadd k a");
    assert_eq!(run.logged("pfadd k a"), "");
    // The estimate is kept in the value.
    assert_eq!(run.propagated("pfcount k"), "pfcount k");
    assert_eq!(run.logged("pfcount k"), "");
    assert_eq!(run.logged("pfcount k none"), "");
    assert_eq!(run.propagated("pfdebug todense k"), "pfdebug todense k");
    assert_eq!(run.logged("pfdebug todense k"), "");
    assert_eq!(run.logged("pfdebug getreg k"), "");
    assert_eq!(run.propagated("pfmerge k"), "pfmerge k");
}

#[test]
fn the_server_tests_itself() {
    Run::new().check(&[("pfselftest", "+OK")]);
}
