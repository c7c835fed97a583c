//! The style and the fences of this repository, as a test: who may import whom, how long a file
//! and a function may be, where `unsafe` may stand and what must stand above it.
//!
//! A rule is a function from one source file to its complaints, and has a test that it can
//! complain. `the_sources_are_tidy` applies them all to what is in `src/` and `tests/`.

use std::fs;
use std::path::Path;

const LINE_WIDTH_MAX: usize = 100;
const FILE_LINES_MAX: usize = 1000;
const FUNCTION_LINES_MAX: usize = 100;

/// Each folder of `src/`, and the folders it may mention besides itself. Imports point one way:
/// `base <- resp <- types <- store <- persist <- replication`, `base <- net`, all of them
/// `<- server <- commands`; the tools in `check` know files alone. Files directly in `src/` put
/// the parts together and may mention all.
const FOLDERS: [(&str, &[&str]); 10] = [
    ("base", &[]),
    ("resp", &["base"]),
    ("types", &["base", "resp"]),
    ("store", &["base", "resp", "types"]),
    ("persist", &["base", "resp", "types", "store"]),
    ("replication", &["base", "resp", "types", "store", "persist"]),
    ("check", &["base", "resp", "types", "store", "persist"]),
    ("net", &["base"]),
    ("server", &["base", "resp", "types", "store", "persist", "replication", "net"]),
    ("commands", &["base", "resp", "types", "store", "persist", "replication", "net", "server"]),
];

/// The files that may contain `unsafe`. A new one is a decision, and is made here.
const UNSAFE_FILES: &[&str] = &[
    "src/base/clock.rs",
    "src/base/prefetch.rs",
    "src/persist/aof/ring.rs",
    "src/persist/files/space.rs",
    "src/server/process.rs",
    "src/store/record.rs",
    "src/store/table.rs",
    "src/types/entry.rs",
    "src/types/zset/member.rs",
    "src/types/zset/sorted.rs",
    "src/types/set/table.rs",
];

/// Lines of code that may stand between a safety comment and its `unsafe`: the head of a
/// statement that rustfmt broke.
const SAFETY_DISTANCE_MAX: usize = 2;

#[test]
fn the_sources_are_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for folder in ["src", "tests"] {
        collect(root, folder, &mut sources);
    }
    let paths: Vec<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    assert!(paths.contains(&"src/lib.rs") && paths.contains(&"tests/tidy.rs"), "{paths:?}");

    let complaints: Vec<String> = sources.iter().flat_map(all_complaints).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn collect(root: &Path, folder: &str, sources: &mut Vec<Source>) {
    let entries = fs::read_dir(root.join(folder)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in names {
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            collect(root, &path, sources);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(root.join(&path)).unwrap();
            sources.push(Source::new(&path, &text));
        }
    }
}

fn all_complaints(source: &Source) -> Vec<String> {
    let rules = [
        check_text,
        check_header,
        check_file_length,
        check_function_lengths,
        check_imports,
        check_unsafe_files,
        check_safety_comments,
    ];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

/// A source file.
struct Source {
    /// Relative to the repository, with `/` between its parts.
    path: String,
    text: String,
    /// The text without comments and without what is in quotes: blanks stand in their place, one
    /// ASCII character for each of the text's, so that lines stay where they are.
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_string(), text: text.to_string(), code: code_only(text) }
    }

    fn complain(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    /// The line, from 1, of an offset into the code.
    fn line_of(&self, offset: usize) -> usize {
        1 + self.code[..offset].matches('\n').count()
    }

    /// The folder of `src/` the file is in, if it is in one.
    fn folder(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.split_once('/').map(|(folder, _)| folder)
    }
}

// ---------------------------------------------------------------------------------------------
// The rules.

fn check_text(source: &Source) -> Vec<String> {
    let unfinished = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("to", "do!"),
        concat!("unimpl", "emented!"),
    ];
    let mut complaints = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let mut complain = |what: String| complaints.push(source.complain(index + 1, &what));
        if line.contains('\t') {
            complain("a tab".to_string());
        }
        if line.ends_with(char::is_whitespace) {
            complain("blanks at the end of the line".to_string());
        }
        let width = line.chars().count();
        if width > LINE_WIDTH_MAX {
            complain(format!("{width} characters in a line, more than {LINE_WIDTH_MAX}"));
        }
        for word in unfinished {
            if line.contains(word) {
                complain(format!("{word}: finish it, or leave it out"));
            }
        }
    }
    complaints
}

fn check_header(source: &Source) -> Vec<String> {
    if source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![source.complain(1, "a module opens with `//!`: what it is for, what it must not know")]
}

fn check_file_length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![source.complain(lines, &format!("{lines} lines in a file, more than {FILE_LINES_MAX}"))]
}

fn check_function_lengths(source: &Source) -> Vec<String> {
    let code = &source.code;
    let mut complaints = Vec::new();
    for start in words(code, "fn") {
        let name = identifier(code[start + 2..].trim_start());
        // Without a name it is the type of a pointer; without a body, a trait's or a foreign one.
        let Some(body) = body_of(code, start).filter(|_| !name.is_empty()) else { continue };
        let lines = source.line_of(body.end) - source.line_of(start) + 1;
        if lines > FUNCTION_LINES_MAX {
            let what = format!("{lines} lines in `{name}`, more than {FUNCTION_LINES_MAX}");
            complaints.push(source.complain(source.line_of(start), &what));
        }
    }
    complaints
}

fn check_imports(source: &Source) -> Vec<String> {
    let Some(folder) = source.folder() else { return Vec::new() };
    let Some((_, allowed)) = FOLDERS.iter().find(|(name, _)| *name == folder) else {
        let what = format!("`{folder}` is a new folder: say in tests/tidy.rs what it may import");
        return vec![source.complain(1, &what)];
    };
    mentions(source)
        .into_iter()
        .filter(|(_, name)| name != folder && !allowed.contains(&name.as_str()))
        .map(|(offset, name)| {
            let what = format!("`{folder}` must not know `crate::{name}`");
            source.complain(source.line_of(offset), &what)
        })
        .collect()
}

fn check_unsafe_files(source: &Source) -> Vec<String> {
    if UNSAFE_FILES.contains(&source.path.as_str()) {
        return Vec::new();
    }
    words(&source.code, "unsafe")
        .map(|offset| source.complain(source.line_of(offset), "unsafe code has no place here"))
        .collect()
}

fn check_safety_comments(source: &Source) -> Vec<String> {
    words(&source.code, "unsafe")
        .filter(|&offset| {
            // What opens an obligation or claims that one is met; not the type `unsafe fn(...)`.
            let behind = source.code[offset + "unsafe".len()..].trim_start();
            let named = |rest: &str| !identifier(rest.trim_start()).is_empty();
            behind.starts_with('{')
                || ["impl", "trait", "extern"].contains(&identifier(behind))
                || behind.strip_prefix("fn").is_some_and(named)
        })
        .map(|offset| source.line_of(offset))
        .filter(|&line| !has_safety_comment(&source.text, line))
        .map(|line| source.complain(line, "unsafe without a SAFETY comment (or # Safety) above"))
        .collect()
}

/// Whether the comment above this line, from 1, gives a reason for `unsafe`.
fn has_safety_comment(text: &str, line: usize) -> bool {
    let above: Vec<&str> = text.lines().take(line - 1).map(str::trim_start).collect();
    let is_comment = |line: &&&str| line.starts_with("//") || line.starts_with("#[");
    let code_between = above.iter().rev().take_while(|line| !is_comment(line)).count();
    code_between <= SAFETY_DISTANCE_MAX
        && above
            .iter()
            .rev()
            .skip(code_between)
            .take_while(is_comment)
            .any(|line| line.contains("SAFETY") || line.contains("# Safety"))
}

// ---------------------------------------------------------------------------------------------
// Reading Rust, as far as the rules need it.

/// Blanks out comments and the contents of string and character literals; see [`Source::code`].
fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(chars.len());
    let mut at = 0;
    while at < chars.len() {
        let skipped = skip_len(&chars, at);
        let taken = &chars[at..at + skipped.max(1)];
        code.extend(taken.iter().map(|&c| match c {
            '\n' => '\n',
            _ if skipped > 0 => ' ',
            c if c.is_ascii() => c,
            _ => '_',
        }));
        at += taken.len();
    }
    code
}

/// How many characters the comment or literal has that starts here; 0 if none does.
fn skip_len(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let in_word = at > 0 && is_word(chars[at - 1]);
    match rest {
        ['/', '/', ..] => rest.iter().take_while(|&&c| c != '\n').count(),
        ['/', '*', ..] => block_comment_len(rest),
        ['"', ..] => 1 + quoted_len(&rest[1..], '"'),
        // A character, or the tick of a lifetime or label.
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => 1 + quoted_len(&rest[1..], '\''),
        ['r', '"' | '#', ..] if !in_word => raw_string_len(&rest[1..]).map_or(0, |len| 1 + len),
        ['b' | 'c', 'r', '"' | '#', ..] if !in_word => {
            raw_string_len(&rest[2..]).map_or(0, |len| 2 + len)
        }
        _ => 0,
    }
}

fn block_comment_len(chars: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < chars.len() {
        match chars[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length up to and with the quote that closes; a backslash hides what follows it.
fn quoted_len(chars: &[char], quote: char) -> usize {
    let mut at = 0;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// The length of `#"..."#`, with as many `#` as there are; `None` for a raw identifier.
fn raw_string_len(chars: &[char]) -> Option<usize> {
    let hashes = chars.iter().take_while(|&&c| c == '#').count();
    if chars.get(hashes) != Some(&'"') {
        return None;
    }
    let closing: Vec<char> = std::iter::once('"').chain(vec!['#'; hashes]).collect();
    let contents = &chars[hashes + 1..];
    let len = contents.windows(closing.len()).position(|window| window == closing)?;
    Some(hashes + 1 + len + closing.len())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The identifier that the text begins with, perhaps an empty one.
fn identifier(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

/// Where the word stands by itself.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(offset, _)| offset).filter(move |&offset| {
        !code[..offset].ends_with(is_word) && identifier(&code[offset..]) == word
    })
}

/// From the `{` of the item that starts here to its `}`; `None` if a `;` comes first.
fn body_of(code: &str, start: usize) -> Option<std::ops::Range<usize>> {
    let mut nesting = 0;
    for (at, c) in code[start..].char_indices() {
        match c {
            '(' | '[' => nesting += 1,
            ')' | ']' => nesting -= 1,
            ';' if nesting == 0 => return None,
            '{' if nesting == 0 => return Some(start + at..closing_brace(code, start + at)),
            _ => (),
        }
    }
    None
}

/// The offset of the brace that closes the one that opens here.
fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[open..].char_indices() {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if depth == 0 {
            return open + at;
        }
    }
    code.len()
}

/// What the file names directly below the crate's root, by `crate::name`, `crate::{a, b}`, or
/// enough `super::`.
fn mentions(source: &Source) -> Vec<(usize, String)> {
    let code = &source.code;
    let by_crate = words(code, "crate").map(|offset| (offset, offset + "crate".len()));
    let by_super = words(code, "super").filter_map(|offset| {
        // The first of a chain speaks for all of it.
        if code[..offset].ends_with("super::") {
            return None;
        }
        let chain: Vec<&str> =
            code[offset..].split("::").take_while(|part| *part == "super").collect();
        let behind = offset + chain.join("::").len();
        (chain.len() >= module_depth(source, offset)).then_some((offset, behind))
    });
    by_crate
        .chain(by_super)
        .filter_map(|(offset, behind)| Some((offset, code[behind..].strip_prefix("::")?)))
        .flat_map(|(offset, path)| top_names(path).into_iter().map(move |name| (offset, name)))
        .collect()
}

/// How many modules deep the code at this offset is: `src/store/record.rs` is two deep, and its
/// `mod tests { ... }` three.
fn module_depth(source: &Source, offset: usize) -> usize {
    let file = source.path.trim_start_matches("src/").trim_end_matches(".rs");
    let of_file = file.trim_end_matches("/mod").split('/').count();
    let inline = words(&source.code, "mod")
        .filter_map(|start| body_of(&source.code, start))
        .filter(|body| body.contains(&offset))
        .count();
    of_file + inline
}

/// The first name of a path, or of each path in a group.
fn top_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![identifier(path).to_string()];
    };
    let group = &group[..closing_brace(path, 0) - 1];
    let mut depth = 0;
    let paths = group.split(|c| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        c == ',' && depth == 0
    });
    paths.map(str::trim).filter(|p| !p.is_empty()).map(|p| identifier(p).to_string()).collect()
}

// ---------------------------------------------------------------------------------------------
// Each rule can complain, and is quiet about what is right.

/// The lines a rule complains about in a file with this path and text.
fn lines(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) -> Vec<usize> {
    let complaints = rule(&Source::new(path, text));
    let line = |complaint: &String| complaint.split(':').nth(1).unwrap().parse().unwrap();
    complaints.iter().map(line).collect()
}

#[test]
fn text_rules_complain() {
    let text = |text: &str| lines(check_text, "src/lib.rs", text);
    assert_eq!(text("//! Fine.\n\nfn a() {}\n"), []);
    assert_eq!(text("a\n\tb\n"), [2]);
    assert_eq!(text("a \nb\n"), [1]);
    assert_eq!(text("a\r\nb\n"), [], "lines() takes the pair; rustfmt minds it");
    assert_eq!(text(&format!("{}\n", "é".repeat(LINE_WIDTH_MAX))), []);
    assert_eq!(text(&format!("{}\n", "é".repeat(LINE_WIDTH_MAX + 1))), [1]);
    for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!()")] {
        assert_eq!(text(&format!("a\nb // {word}: later\n")), [2]);
    }

    let header = |text: &str| lines(check_header, "src/lib.rs", text);
    assert_eq!(header("//! What this is for.\n"), []);
    assert_eq!(header("use std::fs;\n"), [1]);
    assert_eq!(header("// Not a module's.\n"), [1]);
    assert_eq!(header(""), [1]);

    let length = |count: usize| lines(check_file_length, "src/lib.rs", &"x\n".repeat(count));
    assert_eq!(length(FILE_LINES_MAX), []);
    assert_eq!(length(FILE_LINES_MAX + 1), [FILE_LINES_MAX + 1]);
}

#[test]
fn function_lengths_are_minded() {
    let found = |text: &str| lines(check_function_lengths, "src/lib.rs", text);
    let body = |count: usize| "    work();\n".repeat(count);
    let long = body(FUNCTION_LINES_MAX);
    assert_eq!(found(&format!("fn a() {{\n{}}}\n", body(FUNCTION_LINES_MAX - 2))), []);
    assert_eq!(found(&format!("\nfn a() {{\n{}}}\n", body(FUNCTION_LINES_MAX - 1))), [2]);
    // The signature counts; arrays and tuples in it do not end it.
    assert_eq!(found(&format!("fn a(\n    x: [u8; 4],\n) -> [u8; 2]\n{{\n{long}}}\n")), [1]);
    // Braces in literals and comments do not end a function.
    for hidden in ["\"}\"", "'}'", "b'}'", "'\\''; // }", "r#\"}\"\"#", "/* } /* } */ } */ 1"] {
        let text = format!("fn a<'a>() {{\n    let x = {hidden};\n{long}}}\n");
        assert_eq!(found(&text), [1], "{hidden}");
    }
    // Types, declarations and words that contain `fn` are none.
    assert_eq!(found(&format!("type A = fn(u8) -> u8;\nimpl B {{\n{long}}}\n")), []);
    assert_eq!(found(&format!("trait A {{\n    fn a();\n    const B: u8;\n{long}}}\n")), []);
    assert_eq!(found(&format!("let fn_ = {{\n{long}}};\n")), []);
}

#[test]
fn imports_point_one_way() {
    let found = |path: &str, text: &str| lines(check_imports, path, text);
    assert_eq!(found("src/store/db.rs", "use crate::types::Set;\nuse crate::store::db;\n"), []);
    assert_eq!(found("src/store/db.rs", "\nuse crate::persist::Rdb;\n"), [2]);
    assert_eq!(found("src/store/db.rs", "fn a() {\n    crate::net::poll();\n}\n"), [2]);
    assert_eq!(found("src/net/poll.rs", "use crate::{base::rng::{self, Rng}, resp};\n"), [1]);
    assert_eq!(found("src/resp/read.rs", "use crate::{\n    base::rng::{a, net},\n};\n"), []);
    assert_eq!(found("src/base/rng.rs", "use crate::*;\n"), [1]);
    assert_eq!(found("src/base/rng.rs", "use crate::NotAFolder;\n"), [1]);
    // Comments, texts and visibility are no imports; a path in a visibility is harmless.
    assert_eq!(found("src/base/rng.rs", "// crate::net\npub(crate) fn a() { \"crate::net\" }"), []);
    // The way up by `super`.
    assert_eq!(found("src/base/mod.rs", "use super::net::Poll;\n"), [1]);
    assert_eq!(found("src/base/rng.rs", "use super::crc64::crc64;\n"), []);
    assert_eq!(found("src/base/rng.rs", "use super::super::net::Poll;\n"), [1]);
    assert_eq!(found("src/base/rng.rs", "mod tests {\n    use super::super::crc64;\n}\n"), []);
    assert_eq!(found("src/base/rng.rs", "mod tests {\nuse super::super::super::net;\n}\n"), [2]);
    assert_eq!(found("src/persist/aof/load.rs", "use super::super::rdb;\n"), []);
    assert_eq!(found("src/persist/aof/mod.rs", "use super::super::server;\n"), [1]);
    // Each folder's own list.
    assert_eq!(found("src/commands/list.rs", "use crate::server::Ctx;\n"), []);
    assert_eq!(found("src/server/tick.rs", "use crate::commands::TABLE;\n"), [1]);
    assert_eq!(found("src/replication/primary.rs", "use crate::net::Poll;\n"), [1]);
    assert_eq!(found("src/elsewhere/a.rs", ""), [1], "a folder nobody has listed");
    assert_eq!(found("src/main.rs", "use goredis::commands;\nuse crate::anything;\n"), []);
}

#[test]
fn every_import_rule_has_no_cycle() {
    // In order: a folder may only know folders listed before it.
    for (index, (folder, allowed)) in FOLDERS.iter().enumerate() {
        let before: Vec<&str> = FOLDERS[..index].iter().map(|(name, _)| *name).collect();
        assert!(allowed.iter().all(|name| before.contains(name)), "{folder}");
    }
}

#[test]
fn unsafe_code_has_its_files_and_its_reasons() {
    let place = |path: &str, text: &str| lines(check_unsafe_files, path, text);
    assert_eq!(place("src/base/glob.rs", "\nunsafe { a() }\n"), [2]);
    assert_eq!(place("src/store/table.rs", "\nunsafe { a() }\n"), []);
    assert_eq!(place("src/lib.rs", "#![deny(unsafe_code)]\n// unsafe\n\"unsafe\"\n"), []);

    let reason = |text: &str| lines(check_safety_comments, "src/store/table.rs", text);
    assert_eq!(reason("// SAFETY: it lives.\nunsafe { a() }\n"), []);
    assert_eq!(
        reason("// SAFETY: it lives,\n// as said above.\nlet x =\n    unsafe { a() };\n"),
        []
    );
    assert_eq!(reason("/// # Safety\n/// It must live.\n#[inline]\npub unsafe fn a() {}\n"), []);
    assert_eq!(reason("type A = unsafe fn(u8);\n"), []);
    assert_eq!(reason("fn b() {\n    unsafe { a() }\n}\n"), [2]);
    assert_eq!(reason("// It lives.\nunsafe { a() }\n"), [2]);
    assert_eq!(reason("// SAFETY: far away.\nb();\nb();\nb();\nunsafe { a() }\n"), [5]);
    assert_eq!(reason("// SAFETY: another's.\nb();\n// Mine.\nunsafe { a() }\n"), [4]);
    assert_eq!(reason("let s = \"SAFETY\";\nunsafe { a() }\n"), [2]);
    for item in ["unsafe impl Send for A {}", "pub unsafe fn a() {}", "unsafe extern \"C\" {}"] {
        assert_eq!(reason(&format!("\n{item}\n")), [2], "{item}");
        assert_eq!(reason(&format!("// SAFETY: why.\n{item}\n")), [], "{item}");
    }
}

#[test]
fn a_bad_file_breaks_every_rule_through_the_one_door() {
    let body = "\twork(); \n".repeat(FILE_LINES_MAX);
    let text = format!("use crate::net::A;\nfn a() {{\nunsafe {{ b() }}\n{body}}}\n");
    let complaints = all_complaints(&Source::new("src/base/bad.rs", &text)).join("\n");
    for part in
        ["a tab", "blanks", "opens with", "in a file", "in `a`", "must not", "no place", "SAFETY"]
    {
        assert!(complaints.contains(part), "{part}");
    }
}
