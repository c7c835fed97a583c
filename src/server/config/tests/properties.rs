//! What holds for any values of any directives.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use super::*;

type Words = Vec<Vec<u8>>;

fn one(text: impl Into<Vec<u8>>) -> Words {
    vec![text.into()]
}

fn texts(words: &[String]) -> Words {
    words.iter().map(|word| word.clone().into_bytes()).collect()
}

/// Words that set a directive.
fn words(row: &'static Directive) -> BoxedStrategy<Words> {
    match &row.kind {
        Kind::YesNo => select(vec!["yes", "no", "YES"]).prop_map(one).boxed(),
        &Kind::Number { min, max, unit } => (min..=max, any::<bool>())
            .prop_map(move |(number, percent)| match unit {
                Unit::Octal => one(format!("{number:o}")),
                Unit::BytesOrPercent if percent => one(format!("{}%", number % 101)),
                _ => one(number.to_string()),
            })
            .boxed(),
        Kind::Text { check: None } => {
            any::<String>().prop_map(|text| one(text.replace('\0', ""))).boxed()
        }
        Kind::Text { check: Some(_) } => "[a-z0-9.-]{1,20}".prop_map(one).boxed(),
        Kind::Secret => vec(any::<u8>(), 0..20).prop_map(one).boxed(),
        Kind::Directory => select(vec!["/", "/usr", "/usr/lib", "."]).prop_map(one).boxed(),
        Kind::Choice(names) => select(names.to_vec()).prop_map(one).boxed(),
        Kind::Letters(letters) => {
            let letters: Vec<u8> = format!("{letters}A").into_bytes();
            let count = letters.len();
            subsequence(letters, 0..=count).prop_map(one).boxed()
        }
        Kind::Words(_) => several_words(row.name),
        Kind::Declaration { min, max, .. } => {
            vec(vec(any::<u8>(), 0..8), *min..=(*max).min(4)).boxed()
        }
    }
}

/// A new directive of several words has to be added here.
fn several_words(name: &str) -> BoxedStrategy<Words> {
    let numbers = |count| vec((0..u32::MAX).prop_map(|number| number.to_string()), count);
    match name {
        "bind" => vec("[!#-&(-\\[\\]-~]{1,20}", 0..=16).prop_map(|list| texts(&list)).boxed(),
        "client-output-buffer-limit" => {
            (select(vec!["normal", "slave", "replica", "pubsub"]), numbers(3))
                .prop_map(|(class, numbers)| [one(class), texts(&numbers)].concat())
                .boxed()
        }
        "save" => vec((1..u32::MAX, 0..u32::MAX), 0..4)
            .prop_map(|points| {
                let numbers = points.iter().flat_map(|(seconds, changes)| [seconds, changes]);
                numbers.map(|number| number.to_string().into_bytes()).collect()
            })
            .boxed(),
        "oom-score-adj-values" => vec(-2000..=2000i32, 3)
            .prop_map(|values| {
                values.iter().map(|value: &i32| value.to_string().into_bytes()).collect()
            })
            .boxed(),
        "latency-tracking-info-percentiles" => vec(0..=100_000_000, 0..4)
            .prop_map(|list| {
                let text = |millionths: &i32| format!("{:.6}", f64::from(*millionths) / 1e6);
                list.iter().map(|millionths| text(millionths).into_bytes()).collect()
            })
            .boxed(),
        "shutdown-on-sigint" | "shutdown-on-sigterm" => {
            let options = select(vec!["save", "nosave"]);
            (options, subsequence(vec!["now", "force"], 0..=2))
                .prop_map(|(first, others)| {
                    others.into_iter().chain([first]).map(|word| word.into()).collect()
                })
                .boxed()
        }
        "replicaof" => ("[a-z.]{1,9}", any::<u16>())
            .prop_map(|(host, port)| texts(&[host, port.to_string()]))
            .boxed(),
        _ => panic!("{name} needs a strategy"),
    }
}

/// A directive, and words for it.
fn line() -> impl Strategy<Value = (&'static Directive, Words)> {
    any::<Index>().prop_flat_map(|index| {
        let row = &TABLE[index.index(TABLE.len())];
        words(row).prop_map(move |words| (row, words))
    })
}

/// As [`line`], but nothing that would be refused at the end or read another file.
fn plain_line() -> impl Strategy<Value = (&'static Directive, Words)> {
    line().prop_filter("a plain directive", |(row, _)| {
        row.traits.support != Support::Refused && !row.is_declaration()
    })
}

fn assign(config: &mut Config, row: &Directive, words: &[Vec<u8>]) {
    let input = Input { words, place: &Place::Client, again: false };
    (row.assign)(config, &row.kind, &input).unwrap_or_else(|error| {
        panic!("{} {words:?}: {error}", row.name);
    });
}

fn configuration() -> impl Strategy<Value = Config> {
    vec(plain_line(), 0..40).prop_map(|lines| {
        let mut config = Config::default();
        for (row, words) in lines {
            assign(&mut config, row, &words);
        }
        config
    })
}

/// A file with comments and blank lines, some directives under their old names, and some twice.
fn file() -> impl Strategy<Value = String> {
    let directive = (plain_line(), any::<Index>()).prop_map(|((row, words), name)| {
        let names: Vec<_> = row.names().collect();
        let words = words.iter().map(|word| crate::base::args::quote(word));
        let line = [vec![name.get(&names).as_bytes().to_vec()], words.collect()].concat();
        String::from_utf8(line.join(&b' ')).unwrap()
    });
    let comment = prop_oneof![Just(String::new()), "[ \t]*#[ a-z]{0,9}"];
    vec(prop_oneof![2 => directive, 1 => comment], 0..40).prop_map(|lines| lines.join("\n"))
}

proptest! {
    /// CONFIG SET takes what CONFIG GET gives.
    #[test]
    fn shown_values_can_be_set_again((row, words) in line()) {
        prop_assume!(!row.is_declaration());
        let mut config = Config::default();
        assign(&mut config, row, &words);
        let shown = (row.show)(&config, &row.kind);
        let again = match row.takes_words() {
            false => vec![shown],
            true if shown.is_empty() => vec![],
            true => shown.split(|&byte| byte == b' ').map(<[u8]>::to_vec).collect(),
        };
        let mut copy = Config::default();
        assign(&mut copy, row, &again);
        prop_assert!((row.same)(&config, &copy), "{} {:?}", row.name, words);
    }

    /// A line of a file means what its words mean.
    #[test]
    fn quoted_words_load((row, words) in plain_line()) {
        let quoted: Vec<_> = words.iter().map(|word| crate::base::args::quote(word)).collect();
        let line = [row.name.as_bytes().to_vec(), quoted.join(&b' ')].join(&b' ');
        let mut config = Config::default();
        // A lone word of several is split once more.
        let lone = row.takes_words() && words.len() == 1;
        let split = if lone { crate::base::args::split(&words[0]) } else { Some(words.clone()) };
        prop_assume!(split.as_ref() == Some(&words));
        assign(&mut config, row, &words);
        prop_assert_eq!(load(&line), Ok(config));
    }

    #[test]
    fn a_rewritten_file_loads_again(config in configuration(), old in file(), force_all: bool) {
        let path = std::path::Path::new("test.conf");
        let options = RewriteOptions { users: None, force_all };
        let new = config.rewritten(old.as_bytes(), path, options).unwrap();
        let new = String::from_utf8(new).unwrap();
        match load(new.as_bytes()) {
            Ok(loaded) => prop_assert!(loaded == config, "{}", new),
            Err(error) => prop_assert!(false, "{}\n{}", error, new),
        }
        let comments = |text: &str| -> Vec<String> {
            let comments = text.lines().filter(|line| line.trim_start().starts_with('#'));
            comments.filter(|line| !line.contains("Generated")).map(str::to_owned).collect()
        };
        prop_assert_eq!(comments(&old), comments(&new));
        // There is nothing left to do.
        let again = config.rewritten(new.as_bytes(), path, options).unwrap();
        prop_assert_eq!(String::from_utf8(again).unwrap(), new);
    }

    /// All or nothing.
    #[test]
    fn set_is_atomic(config in configuration(), lines in vec(plain_line(), 1..8), wrong: Index) {
        let mut names: Vec<&str> = Vec::new();
        let mut pairs: Vec<(&[u8], Vec<u8>)> = Vec::new();
        for (row, words) in &lines {
            if row.traits.runtime && !row.traits.protected && !names.contains(&row.name) {
                names.push(row.name);
                pairs.push((row.name.as_bytes(), words.join(&b' ')));
            }
        }
        let context = SetContext { local: true, loading: false };
        let set = |config: &mut Config, pairs: &[(&[u8], Vec<u8>)]| {
            let pairs: Vec<(&[u8], &[u8])> =
                pairs.iter().map(|(name, value)| (*name, value.as_slice())).collect();
            config.set(&pairs, context)
        };
        let mut expected = config.clone();
        for (row, words) in &lines {
            if names.contains(&row.name) {
                names.retain(|name| name != &row.name);
                assign(&mut expected, row, words);
            }
        }
        let mut all = config.clone();
        prop_assert!(set(&mut all, &pairs).is_ok());
        prop_assert!(all == expected);

        pairs.retain(|(name, _)| name != b"loglevel");
        pairs.insert(wrong.index(pairs.len() + 1), (b"loglevel", b"loud".to_vec()));
        let mut none = config.clone();
        prop_assert!(set(&mut none, &pairs).is_err());
        prop_assert!(none == config);
    }

    #[test]
    fn any_text_is_read_or_refused(text in vec(any::<u8>(), 0..200)) {
        let _ = load(&text);
    }

    /// Near misses of real lines.
    #[test]
    fn any_change_of_a_file_is_read_or_refused(text in file(), byte: u8, at: Index) {
        let mut text = text.into_bytes();
        let at = at.index(text.len() + 1);
        text.insert(at, byte);
        let _ = load(&text);
        let _ = Config::default().rewritten(
            &text, std::path::Path::new("test.conf"), RewriteOptions::default());
    }
}
