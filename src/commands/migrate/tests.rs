//! What MIGRATE refuses at once, and what is shown of it.

use crate::commands::testing::Run;
use crate::resp::parse::OwnedArgs;
use crate::server::redact;

#[test]
fn what_it_is_told_must_make_sense() {
    let mut run = Run::new();
    let keys = "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty \
                string";
    run.check(&[
        ("SET k v", "+OK"),
        ("MIGRATE host 1 none 0 100", "+NOKEY"),
        ("MIGRATE host 1 \"\" 0 100 KEYS none other", "+NOKEY"),
        ("MIGRATE host 1 none 0 100 COPY REPLACE AUTH a", "+NOKEY"),
        ("MIGRATE host 1 k 0", "-ERR wrong number of arguments for 'migrate' command"),
        ("MIGRATE host 1 k 0 100 NOW", "-ERR syntax error"),
        ("MIGRATE host 1 k 0 100 AUTH", "-ERR syntax error"),
        ("MIGRATE host 1 k 0 100 AUTH2 user", "-ERR syntax error"),
        ("MIGRATE host 1 k 0 100 KEYS a", keys),
        ("MIGRATE host 1 k zero 100", "-ERR value is not an integer or out of range"),
        ("MIGRATE host 1 k 0 1s", "-ERR value is not an integer or out of range"),
    ]);
    // KEYS without any: there is none.
    run.check(&[("MIGRATE host 1 \"\" 0 100 KEYS", "+NOKEY")]);
}

#[test]
fn passwords_are_not_shown() {
    let secrets = |line: &str| {
        let args: OwnedArgs = line.split(' ').collect();
        redact::of_migrate(args.args())
    };
    assert_eq!(secrets("migrate h 1 k 0 1"), []);
    assert_eq!(secrets("migrate h 1 k 0 1 copy auth a replace"), [8]);
    assert_eq!(secrets("migrate h 1 k 0 1 AUTH2 user"), [7]);
    assert_eq!(secrets("migrate h 1 k 0 1 AUTH2 user word AUTH auth KEYS auth b"), [7, 8, 10]);
}
