//! Reads the grammar's syntax; `grammar.rs` describes it.

use super::generate::{self, Generator, Holds};

/// A part of a command.
#[derive(Debug)]
pub enum Node {
    Word(&'static str),
    Value(Generator),
    Key(Holds),
    /// A number, and that many of the node.
    Counted(Box<Node>),
    /// One after the other.
    All(Vec<Node>),
    OneOf(Vec<Node>),
    Maybe(Box<Node>),
    /// Once or more often, and perhaps not at all.
    Several(Box<Node>, bool),
    /// As often as the last count said.
    Again(Box<Node>),
}

/// A row's command, and what stands behind it.
#[derive(Debug)]
pub struct Syntax {
    pub text: &'static str,
    /// As COMMAND LIST has it: `get`, `object|encoding`.
    pub name: String,
    /// The words of the command itself.
    pub words: Vec<&'static str>,
    pub arguments: Node,
    /// Whether it must not be changed at will. Where something expires, blocks or is claimed by
    /// age, a number in the wrong place could make the outcome a matter of time; among the scores
    /// of `key:lex`, it would make them differ.
    pub is_delicate: bool,
}

/// What is safe only where it stands.
const DELICATE: &[&str] = &[
    "seconds", "ms", "at-s", "at-ms", "later-s", "later-ms", "timeout", "block-ms", "min-idle",
    // The least number there is is refused by LREM since 7.2, and taken for all before.
    "few", "key:lex",
];

/// What several rows have in common.
const SHORT: &[(&str, &str)] = &[
    ("from", "(FROMMEMBER place | FROMLONLAT longitude latitude)"),
    ("by", "(BYRADIUS size KM | BYBOX size size KM)"),
];

/// Reads a row's syntax.
///
/// # Panics
/// If it is not one: the grammar is part of the program.
pub fn parse(text: &'static str) -> Syntax {
    let tokens = tokens(text);
    let mut parser = Parser { text, tokens: &tokens[1..] };
    let arguments = parser.alternatives();
    assert!(parser.tokens.is_empty(), "unbalanced: {text}");
    let is_delicate = tokens.iter().any(|token| DELICATE.contains(token));
    let words = tokens[0].split('|').collect();
    Syntax { text, name: tokens[0].to_lowercase(), words, arguments, is_delicate }
}

/// Words, brackets, bars and the signs of repetition. A bar within a word is a part of it.
fn tokens(text: &'static str) -> Vec<&'static str> {
    let mut tokens = Vec::new();
    for word in text.split_whitespace() {
        if let Some((_, meaning)) = SHORT.iter().find(|(short, _)| *short == word) {
            tokens.extend(self::tokens(meaning));
            continue;
        }
        let mut rest = word;
        while !rest.is_empty() {
            let is_sign = |c: char| "()[]+*^".contains(c) || (c == '|' && rest.len() == 1);
            let quoted = rest.strip_prefix('\'').and_then(|inside| inside.find('\''));
            let end = match (quoted, rest.find(is_sign)) {
                (Some(end), _) => end + 2,
                (None, Some(0)) => 1,
                (None, end) => end.unwrap_or(rest.len()),
            };
            tokens.push(&rest[..end]);
            rest = &rest[end..];
        }
    }
    tokens
}

struct Parser<'a> {
    text: &'static str,
    tokens: &'a [&'static str],
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        let found = self.tokens.first() == Some(&token);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn alternatives(&mut self) -> Node {
        let mut nodes = vec![self.sequence()];
        while self.take("|") {
            nodes.push(self.sequence());
        }
        if nodes.len() == 1 { nodes.remove(0) } else { Node::OneOf(nodes) }
    }

    fn sequence(&mut self) -> Node {
        let mut nodes = Vec::new();
        while let Some(&token) = self.tokens.first() {
            if ["|", ")", "]"].contains(&token) {
                break;
            }
            self.tokens = &self.tokens[1..];
            let node = self.single(token);
            nodes.push(self.repeated(node));
        }
        if nodes.len() == 1 { nodes.remove(0) } else { Node::All(nodes) }
    }

    fn single(&mut self, token: &'static str) -> Node {
        let close = match token {
            "(" => ")",
            "[" => "]",
            word => return self.leaf(word),
        };
        let inner = self.alternatives();
        assert!(self.take(close), "no {close}: {}", self.text);
        if token == "[" { Node::Maybe(Box::new(inner)) } else { inner }
    }

    fn leaf(&self, word: &'static str) -> Node {
        let holds = |name: &str| {
            Holds::named(name).unwrap_or_else(|| panic!("no keys hold {name}: {}", self.text))
        };
        if let Some(quoted) = word.strip_prefix('\'') {
            return Node::Word(quoted.strip_suffix('\'').expect("a closing quote"));
        }
        if let Some(name) = word.strip_prefix("key:") {
            return Node::Key(holds(name));
        }
        if let Some(name) = word.strip_prefix("keys:") {
            return Node::Counted(Box::new(Node::Key(holds(name))));
        }
        if word == "fields" {
            return Node::Counted(Box::new(self.leaf("field")));
        }
        if word.starts_with(|c: char| c.is_ascii_lowercase()) {
            let found = generate::find(word);
            return Node::Value(found.unwrap_or_else(|| panic!("no {word}: {}", self.text)));
        }
        Node::Word(word)
    }

    fn repeated(&mut self, node: Node) -> Node {
        if self.take("+") {
            Node::Several(Box::new(node), false)
        } else if self.take("*") {
            Node::Several(Box::new(node), true)
        } else if self.take("^") {
            Node::Again(Box::new(node))
        } else {
            node
        }
    }
}
