//! What the text of single directives must look like, beyond being text.

pub fn db_filename(text: &str) -> Result<(), &'static str> {
    if is_path(text) { Err("dbfilename can't be a path, just a filename") } else { Ok(()) }
}

pub fn append_filename(text: &str) -> Result<(), &'static str> {
    match text {
        "" => Err("appendfilename can't be empty"),
        _ if is_path(text) => Err("appendfilename can't be a path, just a filename"),
        _ => Ok(()),
    }
}

pub fn append_dirname(text: &str) -> Result<(), &'static str> {
    match text {
        "" => Err("appenddirname can't be empty"),
        _ if is_path(text) => Err("appenddirname can't be a path, just a dirname"),
        _ => Ok(()),
    }
}

fn is_path(text: &str) -> bool {
    text.contains(['/', '\\'])
}

pub fn hostname(text: &str) -> Result<(), &'static str> {
    if text.len() >= 256 {
        return Err("Hostnames must be less than 256 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.') {
        return Err("Hostnames may only contain alphanumeric characters, hyphens or dots");
    }
    Ok(())
}

/// The name is written into `nodes.conf`, whose fields these bytes would end.
pub fn node_name(text: &str) -> Result<(), &'static str> {
    const SPECIAL: &[u8] = b"!#$%&()*+:;<>?@[]^{|}~=,'\"\\`";
    if text.bytes().all(|byte| byte.is_ascii_graphic() && !SPECIAL.contains(&byte)) {
        Ok(())
    } else {
        Err("Announced human node name contained invalid character")
    }
}

/// `{name}` is filled in, `{{` is a brace. What results must not be blank whatever the values,
/// of which some may be empty.
pub fn proc_title(text: &str) -> Result<(), &'static str> {
    const INVALID: &str = "template format is invalid or contains unknown variables";
    let mut rest = text;
    let mut visible = false;
    while let Some((literal, behind)) = rest.split_once('{') {
        visible |= literal.contains(|c| c != ' ');
        if let Some(behind_brace) = behind.strip_prefix('{') {
            visible = true;
            rest = behind_brace;
            continue;
        }
        let (name, behind) = behind.split_once('}').ok_or(INVALID)?;
        visible |= match name {
            "listen-addr" | "config-file" | "port" | "tls-port" => true,
            "title" | "server-mode" | "unixsocket" => false,
            _ => return Err(INVALID),
        };
        rest = behind;
    }
    visible |= rest.contains(|c| c != ' ');
    if visible { Ok(()) } else { Err(INVALID) }
}
