//! BITFIELD and BITFIELD_RO: several operations on integers within one string.

use super::{BAD_OFFSET, check_offset};
use crate::base::number::parse_i64;
use crate::commands::string::check_memory;
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::NewValue;
use crate::store::db::{Edit, Entry};
use crate::store::event::class;
use crate::types::bitfield::{self, Form, Overflow};
use crate::types::string::{self, Str};
use crate::types::{Inline, Slot};

const BAD_FORM: Error = Error::Static(
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 \
     is.",
);

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

#[derive(Clone, Copy)]
struct Step {
    action: Action,
    form: Form,
    /// Of its highest bit.
    offset: u64,
}

impl Step {
    fn writes(&self) -> bool {
        !matches!(self.action, Action::Get)
    }

    /// Bytes a string must have for it.
    fn len(&self) -> usize {
        ((self.offset + u64::from(self.form.bits)).div_ceil(8)) as usize
    }
}

fn form(word: &[u8]) -> Option<Form> {
    let (first, digits) = word.split_first()?;
    let (signed, most) = match first {
        b'i' => (true, 64),
        b'u' => (false, 63),
        _ => return None,
    };
    let bits = parse_i64(digits).filter(|bits| (1..=most).contains(bits))?;
    Some(Form { signed, bits: bits as u32 })
}

/// A bit's offset, or, behind a `#`, how many integers of this form are before it.
fn offset(ctx: &Ctx, index: usize, form: Form) -> Result<u64, Error> {
    let number = match ctx.arg(index) {
        [b'#', digits @ ..] => parse_i64(digits).and_then(|n| n.checked_mul(form.bits.into())),
        digits => parse_i64(digits),
    };
    check_offset(ctx, number)
}

fn steps(ctx: &Ctx) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut at = 2;
    while at < ctx.args.len() {
        let more = ctx.args.len() - at - 1;
        if ctx.is_word(at, "overflow") && more >= 1 {
            overflow = match () {
                () if ctx.is_word(at + 1, "wrap") => Overflow::Wrap,
                () if ctx.is_word(at + 1, "sat") => Overflow::Saturate,
                () if ctx.is_word(at + 1, "fail") => Overflow::Fail,
                () => return Err(Error::Static("ERR Invalid OVERFLOW type specified")),
            };
            at += 2;
            continue;
        }
        let make: Option<fn(i64, Overflow) -> Action> = match () {
            () if ctx.is_word(at, "get") && more >= 2 => None,
            () if ctx.is_word(at, "set") && more >= 3 => Some(Action::Set),
            () if ctx.is_word(at, "incrby") && more >= 3 => Some(Action::Add),
            () => return Err(Error::SYNTAX),
        };
        let form = form(ctx.arg(at + 1)).ok_or(BAD_FORM)?;
        let offset = offset(ctx, at + 2, form)?;
        // What is in a file can be no more than a client could send; this is for a damaged one.
        offset.checked_add(64).ok_or(BAD_OFFSET)?;
        let action = match make {
            None => Action::Get,
            Some(make) => make(ctx.int_arg(at + 3)?, overflow),
        };
        at += if make.is_some() { 4 } else { 3 };
        steps.push(Step { action, form, offset });
    }
    Ok(steps)
}

pub fn bitfield(ctx: &mut Ctx) -> Result<(), Error> {
    let steps = steps(ctx)?;
    let Some(len) = steps.iter().filter(|step| step.writes()).map(Step::len).max() else {
        return read(ctx, &steps);
    };
    check_memory(ctx, ctx.args.get(1), len as u64)?;
    let mut edit = match ctx.keys.entry(ctx.args.get(1)) {
        Entry::Occupied(edit) => edit,
        Entry::Vacant(vacant) => vacant.insert(NewValue::Inline(Inline::Str, b""), None),
    };
    let old_len = Str::of(edit.value()).ok_or(Error::WRONG_TYPE)?.len();
    let grows = old_len < len;
    if grows {
        string::overwrite(&mut edit, len - 1, &[0]);
    }
    ctx.out.array(steps.len());
    let mut changes = false;
    for step in &steps {
        match run(&mut edit, step) {
            Some((reply, changed)) => {
                ctx.out.int(reply);
                changes |= changed || grows && step.writes();
            }
            None => ctx.out.null(),
        }
    }
    if changes {
        edit.notify(class::STRING, "setbit");
    }
    edit.set_raw();
    Ok(())
}

pub fn bitfield_ro(ctx: &mut Ctx) -> Result<(), Error> {
    let steps = steps(ctx)?;
    if steps.iter().any(Step::writes) {
        return Err(Error::Static("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    read(ctx, &steps)
}

fn read(ctx: &mut Ctx, steps: &[Step]) -> Result<(), Error> {
    let string = match ctx.keys.read(ctx.args.get(1)) {
        Some(view) => Str::of(view.value()).ok_or(Error::WRONG_TYPE)?,
        None => Str::Bytes(b""),
    };
    ctx.out.array(steps.len());
    string.with(|bytes| {
        steps.iter().for_each(|step| ctx.out.int(step.form.read(bytes, step.offset)));
    });
    Ok(())
}

/// Does one step on a string that is long enough; the reply, and whether the string changed.
fn run(edit: &mut Edit<'_>, step: &Step) -> Option<(i64, bool)> {
    let form = step.form;
    let old = Str::of(edit.value())?.with(|bytes| form.read(bytes, step.offset));
    let (new, reply) = match step.action {
        Action::Get => (old, old),
        Action::Set(number, overflow) => (form.fit(number, overflow)?, old),
        Action::Add(increment, overflow) => {
            let sum = form.add(old, increment, overflow)?;
            (sum, sum)
        }
    };
    if new != old {
        let first = (step.offset >> 3) as usize;
        let bytes = string::bytes_mut_of(edit, first..first.saturating_add(bitfield::WINDOW));
        form.write(bytes, step.offset, new);
    }
    Some((reply, new != old))
}
