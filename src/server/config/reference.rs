//! The table as text for people: the configuration reference, and the help of the command line.

use std::fmt::Write;

use super::table::{Directive, Support, TABLE};
use super::values::{Kind, Unit};
use super::{DEFAULTS, RETIRED};

/// Every directive, in Markdown.
pub fn reference() -> String {
    let mut text = String::new();
    let mut group = "";
    for row in TABLE {
        if row.group != group {
            group = row.group;
            let _ = write!(text, "### {group}\n\n");
        }
        describe(&mut text, row);
    }
    let _ = writeln!(
        text,
        "Read and ignored, as Redis does: {}.",
        RETIRED.map(|name| format!("`{name}`")).join(", ")
    );
    text
}

/// One directive:
///
/// ```text
/// - **`tcp-keepalive`** *number, 0 to 2147483647* = `300`, run time: Seconds without ...
/// ```
fn describe(text: &mut String, row: &Directive) {
    let _ = write!(text, "- **`{}`**", row.name);
    if !row.aliases.is_empty() {
        let names: Vec<_> = row.aliases.iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(text, " (also {})", names.join(", "));
    }
    let _ = write!(text, " *{}*", values(&row.kind));
    let default = default(row);
    if !row.is_declaration() {
        let shown = if default.is_empty() { "\"\"" } else { &default };
        let _ = write!(text, " = `{shown}`");
    }
    let when = if row.traits.runtime { "run time" } else { "start only" };
    let _ = write!(text, ", {when}");
    if row.traits.hidden {
        text.push_str(", hidden from patterns");
    }
    if row.traits.protected {
        text.push_str(", protected");
    }
    let _ = write!(text, ". {}", row.doc());
    if let Some(note) = support_note(row.traits.support) {
        let _ = write!(text, " *{note}*");
    }
    text.push_str("\n\n");
}

fn support_note(support: Support) -> Option<&'static str> {
    match support {
        Support::Works => None,
        Support::Moot => Some("Accepted; nothing here needs it."),
        Support::NoEffect => Some("Accepted, no effect yet."),
        Support::Refused => Some("Not there yet: anything but the default stops the start."),
    }
}

/// The help of an option.
pub(super) fn help(row: &Directive) -> String {
    let note = support_note(row.traits.support).unwrap_or_default();
    fill(row.doc().split(' ').chain(note.split(' ')), 88)
}

/// The words in lines of so many characters.
fn fill<'a>(words: impl Iterator<Item = &'a str>, width: usize) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in words.filter(|word| !word.is_empty()) {
        if column + word.len() >= width {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
        }
        text.push_str(word);
        column += word.len() + 1;
    }
    text
}

/// The default as CONFIG GET shows it. That of `dir` depends on where the server starts.
pub(super) fn default(row: &Directive) -> String {
    if matches!(row.kind, Kind::Directory) {
        return "./".to_owned();
    }
    String::from_utf8_lossy(&(row.show)(&DEFAULTS, &row.kind)).into_owned()
}

/// How a value is written, in short.
pub(super) fn syntax(kind: &Kind) -> String {
    match kind {
        Kind::YesNo => "yes|no".to_owned(),
        Kind::Number { unit: Unit::Plain | Unit::Hertz, .. } => "number".to_owned(),
        Kind::Number { unit: Unit::Bytes, .. } => "bytes".to_owned(),
        Kind::Number { unit: Unit::BytesOrPercent, .. } => "bytes|percent%".to_owned(),
        Kind::Number { unit: Unit::Octal, .. } => "octal".to_owned(),
        Kind::Text { .. } => "text".to_owned(),
        Kind::Secret => "password".to_owned(),
        Kind::Directory => "directory".to_owned(),
        Kind::Choice(names) => names.join("|"),
        Kind::Letters(letters) => format!("letters of {letters}"),
        Kind::Words(syntax) | Kind::Declaration { syntax, .. } => (*syntax).to_owned(),
    }
}

/// The values a directive takes.
fn values(kind: &Kind) -> String {
    match kind {
        Kind::Number { min, max, unit } => {
            let name = syntax(kind);
            if *unit == Unit::Octal {
                format!("{name}, {min:o} to {max:o}")
            } else if *max >= i128::from(i64::MAX) {
                format!("{name}, from {min}")
            } else {
                format!("{name}, {min} to {max}")
            }
        }
        Kind::Choice(names) => names.join(", "),
        _ => syntax(kind),
    }
}
