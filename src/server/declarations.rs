//! What the lines of a configuration mean that declare something: `rename-command`, `user`. And
//! the file that users may have instead of lines.

use super::Server;
use super::acl::{DEFAULT, RuleError, User, has_spaces, join_selectors, shown};
use super::command::{CommandTable, RenameError};
use super::config::{Config, ConfigError, Declaration};
use super::login;
use crate::persist::files::reason;
use log::info;
use std::fs::File;
use std::io::{self, Read};

/// Bytes of the file with the users: far above any, and what is read before a wrong file is
/// noticed.
const MAX_FILE_SIZE: u64 = 64 << 20;

/// What is wrong with a line that begins with `name`.
fn wrong(name: &str, declaration: &Declaration, message: impl Into<String>) -> ConfigError {
    let words = declaration.words.iter().map(Vec::as_slice);
    let words: Vec<&[u8]> = std::iter::once(name.as_bytes()).chain(words).collect();
    ConfigError::in_declaration(&declaration.place, &words, message)
}

/// The commands as they are to be called, and a first look at the users: whatever can be said
/// before the server starts.
pub fn read(
    config: &Config,
    commands: &'static CommandTable,
) -> Result<&'static CommandTable, ConfigError> {
    check_users(config, commands)?;
    rename(config, commands)
}

fn rename(
    config: &Config,
    commands: &'static CommandTable,
) -> Result<&'static CommandTable, ConfigError> {
    if config.rename_command.is_empty() {
        return Ok(commands);
    }
    let names: Vec<(&[u8], &[u8])> = config
        .rename_command
        .iter()
        .filter_map(|declaration| match declaration.words.as_slice() {
            [old, new] => Some((old.as_slice(), new.as_slice())),
            _ => None,
        })
        .collect();
    commands.renamed(&names).map_err(|(index, error)| {
        let message = match error {
            RenameError::NoSuchCommand => "No such command in rename-command",
            RenameError::NameTaken => "Target command name already exists",
        };
        wrong("rename-command", &config.rename_command[index], message)
    })
}

/// A user's name and rules.
fn user_words(declaration: &Declaration) -> Option<(&[u8], impl Iterator<Item = &[u8]>)> {
    let (name, rules) = declaration.words.split_first()?;
    Some((name, rules.iter().map(Vec::as_slice)))
}

/// Refuses users that can never be. What is unknown may be of a later version; it is refused when
/// the server starts.
fn check_users(config: &Config, commands: &'static CommandTable) -> Result<(), ConfigError> {
    let mut names = Vec::new();
    let book = login::rulebook(config, commands);
    for declaration in &config.user {
        let Some((name, rules)) = user_words(declaration) else { continue };
        let fails = |what: &str, message: &str| {
            let message = format!("Error in user declaration '{what}': {message}");
            Err(wrong("user", declaration, message))
        };
        if names.contains(&name) {
            let message = "Duplicate user found. A user can only be defined once in config files";
            return fails(&String::from_utf8_lossy(name), message);
        }
        names.push(name);
        let rules = match join_selectors(rules) {
            Ok(rules) => rules,
            Err(opening) => return fails(&shown(opening), "Unmatched parenthesis in selector"),
        };
        let mut user = User::new(name, book);
        for rule in rules {
            match user.apply(&rule, book) {
                Ok(()) | Err(RuleError::Unknown) => {}
                Err(error) => return fails(&shown(&rule), error.text()),
            }
        }
    }
    Ok(())
}

/// Takes in the users of the configuration, or of the file it names.
///
/// # Errors
/// A text for the log: the server cannot start.
pub fn load_users(server: &mut Server) -> Result<(), String> {
    let Server { config, acl, commands, .. } = server;
    let book = login::rulebook(config, commands);
    if !config.aclfile.is_empty() && !config.user.is_empty() {
        return Err("Users are declared both in the configuration and in an ACL file: which of \
                    them count? Please use either 'user' lines or 'aclfile', not both."
            .to_string());
    }
    for declaration in &config.user {
        let Some((name, rules)) = user_words(declaration) else { continue };
        let shown_name = String::from_utf8_lossy(name).into_owned();
        if has_spaces(name) {
            return Err("Spaces not allowed in ACL usernames".to_string());
        }
        // Also the default user begins with nothing.
        let mut user = User::new(name, book);
        for rule in join_selectors(rules).unwrap_or_default() {
            user.apply(&rule, book).map_err(|error| {
                let (rule, error) = (shown(&rule), error.text());
                format!(
                    "Error loading ACL rule '{rule}' for the user named '{shown_name}': {error}"
                )
            })?;
        }
        if !user.is_enabled() {
            info!(
                "The user '{shown_name}' is disabled, as nothing in its line says 'on'. Is that \
                 meant so?"
            );
        }
        acl.put(user);
    }
    if !config.aclfile.is_empty() {
        let loaded = read_file(&config.aclfile);
        let loaded = loaded.and_then(|text| acl.load(&text, &config.aclfile, book));
        loaded.map_err(|errors| {
            let errors = String::from_utf8_lossy(&errors).into_owned();
            format!("Aborting the start because of ACL errors: {errors}")
        })?;
    }
    debug_assert!(acl.get(DEFAULT).is_some());
    Ok(())
}

/// The content of the file with the users. It waits for the disk.
///
/// # Errors
/// A text for whoever wants it loaded.
pub fn read_file(path: &str) -> Result<Vec<u8>, Vec<u8>> {
    let read = || -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        File::open(path)?.take(MAX_FILE_SIZE + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_FILE_SIZE {
            return Err(io::Error::other("the file is too large"));
        }
        Ok(text)
    };
    read().map_err(|e| {
        format!("Error loading ACLs, opening file '{path}': {}", reason(&e)).into_bytes()
    })
}
