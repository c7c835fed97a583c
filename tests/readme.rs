//! README's configuration reference is made from the table of directives; this keeps it true.
//! `UPDATE_README=1 cargo test --test readme` writes it anew.

use goredis::server::config::reference;

const BEGIN: &str = "<!-- The table of directives, made by `cargo test --test readme`. -->\n\n";

#[test]
fn the_reference_is_that_of_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).expect("README.md");
    let (before, shown) = readme.split_once(BEGIN).expect("README.md has the mark");
    let wanted = reference();
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{wanted}")).expect("README.md is writable");
    } else {
        assert!(shown == wanted, "run: UPDATE_README=1 cargo test --test readme");
    }
}
