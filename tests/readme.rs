//! README's configuration reference is made from the table of directives; this keeps it true.
//! `UPDATE_README=1 cargo test --test readme` writes it anew. And its page on durability names a
//! test for each promise, which must exist.

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

#[test]
fn the_tests_of_the_promises_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("README.md");
    let page = readme.split("\n## ").find(|page| page.starts_with("Durability\n"));
    let rows = page.expect("a page on durability").lines().filter(|line| line.contains("::"));
    let mut named = 0;
    for row in rows {
        let (_, tests) = row.trim_end_matches(" |").rsplit_once(" | ").expect("a promise");
        for test in tests.split(", ") {
            let (module, name) = test.trim_matches('`').rsplit_once("::").expect("a test's name");
            let is_inside = ["persist", "server", "store"].iter().any(|m| module.starts_with(m));
            let path = format!("{}/{}", if is_inside { "src" } else { "tests" }, module)
                .replace("::", "/");
            // A test module has a file of its own, or is at the end of what it tests.
            let parent = path.trim_end_matches("/tests");
            let source = [&path, parent]
                .iter()
                .find_map(|path| std::fs::read_to_string(root.join(format!("{path}.rs"))).ok());
            let source = source.unwrap_or_else(|| panic!("no file of {test}"));
            assert!(
                source.contains(&format!("#[test]\nfn {name}()"))
                    || source.contains(&format!("#[test]\n    fn {name}()")),
                "no test {test}"
            );
            named += 1;
        }
    }
    assert!(named > 40, "only {named} tests are named");
}
