//! Glob patterns as Redis matches them: KEYS, SCAN MATCH, PSUBSCRIBE, ACL selectors, CONFIG GET.
//! Knows bytes only, no keys and no channels.
//!
//! | pattern | matches |
//! |---|---|
//! | `*` | any bytes, also none |
//! | `?` | any one byte |
//! | `[abc]`, `[a-z]`, `[^x]` | one byte of (or not of) the class |
//! | `\x` | the byte `x`, whatever it means otherwise |
//!
//! The corners are those of Redis 7 on x86-64, because patterns in use rely on them:
//! - an empty text matches only the empty pattern, not even `*`;
//! - a class that is never closed ends where the pattern ends;
//! - a range takes any byte as its end, also `]`, and may be given upside down;
//! - bytes from 0x80 sort below the ASCII ones in a range (C's `char` is signed there);
//! - ignoring case covers ASCII letters, and not a byte that is escaped inside a class;
//! - of a pattern with more than [`MAX_STARS`] runs of stars nothing after them is looked at: it
//!   does not match.

/// Runs of `*` a pattern may have before something else. The limit is Redis's (CVE-2024-31228):
/// there each run costs a level of recursion. Here it costs nothing, but answers must agree.
pub const MAX_STARS: usize = 1000;

/// Whether `text` as a whole matches `pattern`.
///
/// Time is at most `pattern.len() * text.len()` steps, whatever the pattern: only the last star
/// is ever retried. An earlier one need not be, for whatever it could still take in, the last one
/// can take in as well.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut pattern, mut text) = (pattern, text);
    // Where to go on when a byte does not fit: behind the last star, and the text it is tried on.
    let mut retry: Option<(&[u8], &[u8])> = None;
    let mut stars = 0;
    while !text.is_empty() {
        if pattern.first() == Some(&b'*') {
            pattern = skip_stars(pattern);
            if pattern.is_empty() {
                return true;
            }
            stars += 1;
            if stars > MAX_STARS {
                return false;
            }
            retry = Some((pattern, text));
        }
        if let Some(rest) = match_one(pattern, text[0], nocase) {
            (pattern, text) = (rest, &text[1..]);
        } else if let Some((after_star, tried)) = retry {
            (pattern, text) = (after_star, &tried[1..]);
            retry = Some((pattern, text));
        } else {
            return false;
        }
    }
    // Retrying the star would leave even less text for a pattern that wants more.
    skip_stars(pattern).is_empty()
}

fn skip_stars(pattern: &[u8]) -> &[u8] {
    let stars = pattern.iter().take_while(|&&byte| byte == b'*').count();
    &pattern[stars..]
}

/// Matches one byte of text against the head of the pattern; the pattern behind it, if it fits.
fn match_one(pattern: &[u8], byte: u8, nocase: bool) -> Option<&[u8]> {
    let (fits, rest) = match pattern {
        [] => return None,
        [b'?', rest @ ..] => (true, rest),
        [b'[', b'^', class @ ..] => {
            let (inside, rest) = match_class(class, byte, nocase);
            (!inside, rest)
        }
        [b'[', class @ ..] => match_class(class, byte, nocase),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (same(*literal, byte, nocase), rest),
    };
    fits.then_some(rest)
}

/// Whether the class that starts here has the byte, and the pattern behind the class.
fn match_class(mut class: &[u8], byte: u8, nocase: bool) -> (bool, &[u8]) {
    let mut inside = false;
    loop {
        let (hit, rest) = match class {
            [] => return (inside, class),
            [b'\\', literal, rest @ ..] => (*literal == byte, rest),
            [b']', rest @ ..] => return (inside, rest),
            [from, b'-', to, rest @ ..] => (in_range(*from, *to, byte, nocase), rest),
            [literal, rest @ ..] => (same(*literal, byte, nocase), rest),
        };
        inside |= hit;
        class = rest;
    }
}

fn same(a: u8, b: u8, nocase: bool) -> bool {
    a == b || nocase && a.eq_ignore_ascii_case(&b)
}

fn in_range(from: u8, to: u8, byte: u8, nocase: bool) -> bool {
    // Put in order before the case goes, as Redis does: `[Z-a]` then is empty without case.
    let (low, high) = if from as i8 <= to as i8 { (from, to) } else { (to, from) };
    let fold = |byte: u8| (if nocase { byte.to_ascii_lowercase() } else { byte }) as i8;
    (fold(low)..=fold(high)).contains(&fold(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    fn case(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), false)
    }

    #[test]
    fn ordinary_patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("hello", "hello", true),
            ("hello", "hell", false),
            ("hello", "hello!", false),
            ("h?llo", "hallo", true),
            ("h?llo", "hllo", false),
            ("h*llo", "hllo", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[a-b]llo", "hcllo", false),
            ("*", "anything", true),
            ("**", "a", true),
            ("a*", "a", true),
            ("a**", "a", true),
            ("*a", "aba", true),
            ("*ab*cd", "xabyabzcdcd", true),
            ("*ab*cd", "xabyabzcdc", false),
            ("user:*:name", "user:12:name", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a\\?", "ab", false),
            ("\\[a]", "[a]", true),
        ] {
            assert_eq!(case(pattern, text), expected, "{pattern} against {text}");
        }
    }

    #[test]
    fn corners_are_those_of_redis() {
        for (pattern, text, expected) in [
            // An empty text.
            ("*", "", false),
            ("**", "", false),
            // A backslash at the end is itself.
            ("a\\", "a\\", true),
            // Classes that are not closed, or have nothing in them.
            ("[", "[", false),
            ("[^", "x", true),
            ("[a", "a", true),
            ("[ab", "b", true),
            ("[a\\", "\\", true),
            ("[]", "a", false),
            ("[]a]", "a]", false),
            ("[^]", "a", true),
            ("[^]a", "xa", true),
            // Ranges.
            ("[z-a]", "m", true),
            ("[a-]", "_", true),
            ("[a-]", "b", false),
            ("[-a]", "-", true),
            ("[a-c-e]", "d", false),
            ("[a-c-e]", "e", true),
            // Escapes in a class; an escape cannot start a range.
            ("[\\]]", "]", true),
            ("[\\^a]", "^", true),
            ("[\\a-c]", "b", false),
            ("[a-\\]", "\\", true),
            ("[a-\\]", "]", true),
        ] {
            assert_eq!(case(pattern, text), expected, "{pattern} against {text}");
        }
        assert!(matches(b"[\x80-\xff]", b"\xc3", false));
        assert!(!matches(b"[a-\xff]", b"m", false), "0xff is -1, and a is 97");
        assert!(matches(b"[a-\xff]", b"A", false));
    }

    #[test]
    fn case_is_ignored_on_request() {
        assert!(matches(b"MaxMem*", b"maxmemory", true));
        assert!(!matches(b"MaxMem*", b"maxmemory", false));
        assert!(matches(b"[A-C]x", b"bX", true));
        assert!(matches(b"[b]", b"B", true));
        assert!(!matches(b"[\\b]", b"B", true), "escaped inside a class");
        assert!(matches(b"\\b", b"B", true));
        assert!(!matches(b"[Z-a]", b"z", true));
        assert!(!matches("É".as_bytes(), "é".as_bytes(), true), "ASCII only");
    }

    #[test]
    fn more_runs_of_stars_than_the_limit_do_not_match() {
        let text = vec![b'a'; 5000];
        assert!(matches(&b"*a".repeat(MAX_STARS), &text, false));
        assert!(!matches(&b"*a".repeat(MAX_STARS + 1), &text, false));
        let open_end = [b"*a".repeat(MAX_STARS), b"*".to_vec()].concat();
        assert!(matches(&open_end, &text, false));
    }

    #[test]
    fn hostile_patterns_take_no_time() {
        // The two of Redis's own suite (unit/keyspace), then the worst for this algorithm. Each
        // would take from minutes to the age of the universe if stars were retried in turn.
        let start = Instant::now();
        assert!(!matches(b"a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", &[b'a'; 40], false));
        assert!(!matches(&b"*?".repeat(50_000), &[b'a'; 50_000], false));
        let text = vec![b'a'; 20_000];
        assert!(!matches(&[b"a*".repeat(900), b"b".to_vec()].concat(), &text, false));
        assert!(!matches(&[b"*".as_slice(), &text[..2000], b"b"].concat(), &text, false));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }

    /// The model: a pattern becomes a list of tokens, and every split is tried.
    enum Token {
        Star,
        OneOf(Box<[bool; 256]>),
    }

    fn tokens(pattern: &[u8], nocase: bool) -> Vec<Token> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < pattern.len() {
            let mut set = Box::new([false; 256]);
            let mut add = |wanted: u8, exact: bool| {
                for byte in 0..=255u8 {
                    let alike = nocase && !exact && byte.eq_ignore_ascii_case(&wanted);
                    set[byte as usize] |= byte == wanted || alike;
                }
            };
            match pattern[at] {
                b'*' => {
                    found.push(Token::Star);
                    at += 1;
                    continue;
                }
                b'?' => (0..=255).for_each(|byte| add(byte, true)),
                b'\\' if at + 1 < pattern.len() => {
                    at += 1;
                    add(pattern[at], false);
                }
                b'[' => {
                    at += 1;
                    let negated = pattern.get(at) == Some(&b'^');
                    at += usize::from(negated);
                    while at < pattern.len() && pattern[at] != b']' {
                        if pattern[at] == b'\\' && at + 1 < pattern.len() {
                            add(pattern[at + 1], true);
                            at += 2;
                        } else if at + 2 < pattern.len() && pattern[at + 1] == b'-' {
                            let (from, to) = (pattern[at], pattern[at + 2]);
                            let (from, to) = (from.min(to), from.max(to));
                            let fold = |b: u8| if nocase { b.to_ascii_lowercase() } else { b };
                            (0..=255u8)
                                .filter(|&b| fold(from) <= fold(b) && fold(b) <= fold(to))
                                .for_each(|b| add(b, true));
                            at += 3;
                        } else {
                            add(pattern[at], false);
                            at += 1;
                        }
                    }
                    if negated {
                        set.iter_mut().for_each(|bit| *bit = !*bit);
                    }
                }
                literal => add(literal, false),
            }
            at += 1;
            found.push(Token::OneOf(set));
        }
        found
    }

    fn model(tokens: &[Token], text: &[u8]) -> bool {
        match (tokens, text) {
            ([], _) => text.is_empty(),
            ([Token::Star, rest @ ..], _) => {
                (0..=text.len()).any(|skipped| model(rest, &text[skipped..]))
            }
            ([Token::OneOf(set), rest @ ..], [byte, text @ ..]) => {
                set[*byte as usize] && model(rest, text)
            }
            _ => false,
        }
    }

    fn bytes_of(alphabet: &'static [u8], max: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(alphabet), 0..max)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn agrees_with_the_model(
            pattern in bytes_of(b"aabBc**??[[]]^-\\", 9),
            text in bytes_of(b"aabBc-^]\\[*", 7),
            nocase: bool,
        ) {
            let expected =
                if text.is_empty() { pattern.is_empty() }
                else { model(&tokens(&pattern, nocase), &text) };
            prop_assert_eq!(matches(&pattern, &text, nocase), expected);
        }

        #[test]
        fn any_bytes_are_taken(pattern: Vec<u8>, text: Vec<u8>, nocase: bool) {
            matches(&pattern, &text, nocase);
        }

        #[test]
        fn an_escaped_text_matches_itself_only(text: Vec<u8>, other: Vec<u8>) {
            let pattern: Vec<u8> = text.iter().flat_map(|&byte| [b'\\', byte]).collect();
            prop_assert!(matches(&pattern, &text, false));
            prop_assert_eq!(matches(&pattern, &other, false), text == other);
        }
    }
}
