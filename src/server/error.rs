//! Errors a command answers with, code first.

use std::borrow::Cow;

/// The text of an error reply, beginning with its code (`ERR`, `WRONGTYPE`, ...).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    Static(&'static str),
    Text(String),
    /// May hold any bytes a client sent.
    Bytes(Vec<u8>),
}

impl Error {
    pub const WRONG_TYPE: Error =
        Error::Static("WRONGTYPE Operation against a key holding the wrong kind of value");
    pub const SYNTAX: Error = Error::Static("ERR syntax error");
    pub const NOT_AN_INTEGER: Error = Error::Static("ERR value is not an integer or out of range");
    pub const NOT_A_FLOAT: Error = Error::Static("ERR value is not a valid float");
    pub const NO_SUCH_KEY: Error = Error::Static("ERR no such key");
    pub const OUT_OF_RANGE: Error = Error::Static("ERR value is out of range");

    /// `ERR wrong number of arguments for 'NAME' command`.
    pub fn arity(full_name: &str) -> Error {
        Error::Text(format!("ERR wrong number of arguments for '{full_name}' command"))
    }

    pub fn text(&self) -> Cow<'_, [u8]> {
        match self {
            Error::Static(text) => Cow::Borrowed(text.as_bytes()),
            Error::Text(text) => Cow::Borrowed(text.as_bytes()),
            Error::Bytes(bytes) => Cow::Borrowed(bytes),
        }
    }
}

impl From<String> for Error {
    fn from(text: String) -> Error {
        Error::Text(text)
    }
}
