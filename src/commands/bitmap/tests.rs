//! What scripts do not show: what is logged, events, memory.

use crate::commands::testing::Run;

#[test]
fn events_are_those_of_redis() {
    Run::new().check_events(&[
        ("setbit k 3 1", "new k, setbit k"),
        ("setbit k 3 1", ""),
        ("setbit k 3 0", "setbit k"),
        ("setbit k 100 0", "setbit k"),
        ("setbit k x 0", ""),
        ("bitfield k get u8 0", ""),
        ("bitfield k set u8 0 0", ""),
        ("bitfield k set u8 0 1 set u8 8 1", "setbit k"),
        ("bitfield f set u8 0 0", "new f, setbit f"),
        ("bitfield g overflow fail set u8 0 256", "new g"),
        ("bitop or d k", "new d, set d"),
        ("bitop or d k", "set d"),
        ("bitop not d none", "keymiss none, del d"),
        ("bitop not d none", "keymiss none"),
    ]);
}

#[test]
fn what_changes_nothing_is_not_logged() {
    let mut run = Run::new();
    assert_eq!(run.propagated("setbit k 3 1"), "setbit k 3 1");
    for line in ["setbit k 3 1", "getbit k 3", "bitcount k", "bitfield k get u8 0"] {
        assert_eq!(run.logged(line), "", "{line}");
    }
    assert_eq!(run.logged("bitfield k set u8 0 16"), "");
    assert_eq!(run.propagated("bitfield k set u8 0 17"), "bitfield k set u8 0 17");
    assert_eq!(run.logged("bitop not none none"), "");
}

#[test]
fn bits_far_away_take_no_time() {
    let mut run = Run::new();
    run.check(&[
        ("setbit k 4294967295 1", ":0"),
        ("strlen k", ":536870912"),
        ("getbit k 4294967295", ":1"),
        ("setbit k 4294967295 0", ":1"),
        ("setbit k 4294967296 1", "-ERR bit offset is not an integer or out of range"),
    ]);
}

/// Redis calculates how far a number is from the greatest in 64 bits: where that overflows, the
/// least numbers saturate to the greatest.
#[test]
fn the_least_numbers_saturate_to_the_greatest() {
    Run::new().check(&[
        ("bitfield k overflow sat set i8 0 -9223372036854775808 get i8 0", "*2 :0 :127"),
        ("bitfield k overflow sat set i8 0 -9223372036854775681 get i8 0", "*2 :127 :127"),
        ("bitfield k overflow sat set i8 0 -9223372036854775680 get i8 0", "*2 :127 :-128"),
        ("bitfield k overflow sat incrby i8 0 -9223372036854775808", "*1 :-128"),
    ]);
}
