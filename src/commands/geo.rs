//! Commands on places: sorted sets whose scores are geohashes.

use super::store::store;
use super::zset::{self as family, read};
use crate::base::number::{LongDouble, parse_f64, parse_i64};
use crate::resp::parse::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::server::command::{Begin, Command, Find, Group, Keys, READ_KEY, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::store::event::class;
use crate::types::geo::{Point, Shape};
use crate::types::zset::{self, Zset};

const BASE: Command =
    Command { since: "3.2.0", group: Group::Geo, categories: &["geo"], ..Command::BASE };

const SEARCH_COMPLEXITY: &str =
    "O(N+log(M)) for N places in the squares around the shape and M in the whole set";

/// The key behind a word that may stand anywhere from the argument `from` on.
const fn behind(word: &'static str, from: i32) -> Keys {
    Keys {
        flags: &["OW", "update"],
        begin: Begin::Keyword { word, from },
        find: Find::Range { last: 0, step: 1, limit: 0 },
    }
}

const UPPERCASE_UNITS: (&str, &str) = ("7.0.0", "Takes units in upper case");
const ANY_OPTION: (&str, &str) = ("6.2.0", "Option `ANY` of `COUNT`");

pub const COMMANDS: &[Command] = &[
    Command {
        name: "geoadd",
        summary: "Adds places to a set of places, or moves those that are there",
        complexity: "O(log(N)) for each place, N being how many the set has",
        arity: -5,
        flags: WRITE | DENYOOM,
        keys: &[Keys::at(1, &["RW", "update"])],
        args: "key condition:[NX | XX]@6.2.0 [change:CH]@6.2.0 \
               data:(longitude:double latitude:double member)...",
        history: &[("6.2.0", "Options `CH`, `NX` and `XX`")],
        handler: geoadd,
        ..BASE
    },
    Command {
        name: "geodist",
        summary: "Returns how far two places are apart",
        arity: -4,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key member1 member2 unit:['m' | 'km' | 'ft' | 'mi']",
        handler: geodist,
        ..BASE
    },
    Command {
        name: "geohash",
        summary: "Returns places as geohash texts",
        complexity: "O(N) for N places asked for",
        arity: -2,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key [member ...]",
        handler: geohash,
        ..BASE
    },
    Command {
        name: "geopos",
        summary: "Returns longitudes and latitudes of places",
        complexity: "O(N) for N places asked for",
        arity: -2,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key [member ...]",
        handler: geopos,
        ..BASE
    },
    Command {
        name: "georadius",
        summary: "Finds places within a distance of a point, and returns or stores them",
        complexity: SEARCH_COMPLEXITY,
        arity: -6,
        flags: WRITE | DENYOOM | MOVABLEKEYS,
        keys: &[READ_KEY, behind("STORE", 6), behind("STOREDIST", 6)],
        args: "key longitude:double latitude:double radius:double \
               unit:('m' | 'km' | 'ft' | 'mi') [WITHCOORD] [WITHDIST] [WITHHASH] \
               count-block:[COUNT count [ANY]@6.2.0] order:[ASC | DESC] \
               store:[STORE storekey/key | STOREDIST storedistkey/key]",
        history: &[ANY_OPTION, UPPERCASE_UNITS],
        deprecated: Some((
            "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument",
            "6.2.0",
        )),
        handler: |ctx| search(ctx, Form::Radius { may_store: true }),
        ..BASE
    },
    Command {
        name: "georadius_ro",
        summary: "Finds places within a distance of a point",
        since: "3.2.10",
        complexity: SEARCH_COMPLEXITY,
        arity: -6,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key longitude:double latitude:double radius:double \
               unit:('m' | 'km' | 'ft' | 'mi') [WITHCOORD] [WITHDIST] [WITHHASH] \
               count-block:[COUNT count [ANY]@6.2.0] order:[ASC | DESC]",
        history: &[ANY_OPTION],
        deprecated: Some(("`GEOSEARCH` with the `BYRADIUS` argument", "6.2.0")),
        handler: |ctx| search(ctx, Form::Radius { may_store: false }),
        ..BASE
    },
    Command {
        name: "georadiusbymember",
        summary: "Finds places within a distance of another one, and returns or stores them",
        complexity: SEARCH_COMPLEXITY,
        arity: -5,
        flags: WRITE | DENYOOM | MOVABLEKEYS,
        keys: &[READ_KEY, behind("STORE", 5), behind("STOREDIST", 5)],
        args: "key member radius:double unit:('m' | 'km' | 'ft' | 'mi') [WITHCOORD] [WITHDIST] \
               [WITHHASH] count-block:[COUNT count [ANY]] order:[ASC | DESC] \
               store:[STORE storekey/key | STOREDIST storedistkey/key]",
        history: &[UPPERCASE_UNITS],
        deprecated: Some((
            "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
            "6.2.0",
        )),
        handler: |ctx| search(ctx, Form::ByMember { may_store: true }),
        ..BASE
    },
    Command {
        name: "georadiusbymember_ro",
        summary: "Finds places within a distance of another one",
        since: "3.2.10",
        complexity: SEARCH_COMPLEXITY,
        arity: -5,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key member radius:double unit:('m' | 'km' | 'ft' | 'mi') [WITHCOORD] [WITHDIST] \
               [WITHHASH] count-block:[COUNT count [ANY]] order:[ASC | DESC]",
        deprecated: Some(("`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments", "6.2.0")),
        handler: |ctx| search(ctx, Form::ByMember { may_store: false }),
        ..BASE
    },
    Command {
        name: "geosearch",
        summary: "Finds places within a circle or a box",
        since: "6.2.0",
        complexity: SEARCH_COMPLEXITY,
        arity: -7,
        flags: READONLY,
        keys: &[READ_KEY],
        args: "key from:(FROMMEMBER member \
               | FROMLONLAT fromlonlat:(longitude:double latitude:double)) \
               by:(circle:(BYRADIUS radius:double unit:('m' | 'km' | 'ft' | 'mi')) \
               | box:(BYBOX width:double height:double unit:('m' | 'km' | 'ft' | 'mi'))) \
               order:[ASC | DESC] count-block:[COUNT count [ANY]] [WITHCOORD] [WITHDIST] \
               [WITHHASH]",
        history: &[UPPERCASE_UNITS],
        handler: |ctx| search(ctx, Form::Search),
        ..BASE
    },
    Command {
        name: "geosearchstore",
        summary: "Finds places within a circle or a box, and stores them",
        since: "6.2.0",
        complexity: SEARCH_COMPLEXITY,
        arity: -8,
        flags: WRITE | DENYOOM,
        keys: &[Keys::at(1, &["OW", "update"]), Keys::at(2, &["RO", "access"])],
        args: "destination source from:(FROMMEMBER member \
               | FROMLONLAT fromlonlat:(longitude:double latitude:double)) \
               by:(circle:(BYRADIUS radius:double unit:('m' | 'km' | 'ft' | 'mi')) \
               | box:(BYBOX width:double height:double unit:('m' | 'km' | 'ft' | 'mi'))) \
               order:[ASC | DESC] count-block:[COUNT count [ANY]] [STOREDIST]",
        history: &[UPPERCASE_UNITS],
        handler: |ctx| search(ctx, Form::SearchStore),
        ..BASE
    },
];

fn number(text: &[u8], error: &'static str) -> Result<f64, Error> {
    parse_f64(text).ok_or(Error::Static(error))
}

/// The point whose longitude is the argument `at`.
fn point(args: Args<'_>, at: usize) -> Result<Point, Error> {
    let longitude = parse_f64(args.get(at)).ok_or(Error::NOT_A_FLOAT)?;
    let latitude = parse_f64(args.get(at + 1)).ok_or(Error::NOT_A_FLOAT)?;
    let point = Point { longitude, latitude };
    if !point.is_valid() {
        return Err(Error::Text(format!(
            "ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"
        )));
    }
    Ok(point)
}

/// Metres in a unit.
fn unit(name: &[u8]) -> Result<f64, Error> {
    match name.to_ascii_lowercase().as_slice() {
        b"m" => Ok(1.0),
        b"km" => Ok(1000.0),
        b"ft" => Ok(0.3048),
        b"mi" => Ok(1609.34),
        _ => Err(Error::Static("ERR unsupported unit provided. please use M, KM, FT, MI")),
    }
}

/// The place of a member of the set, in which it must be.
fn place(zset: Zset<'_>, member: &[u8]) -> Result<Point, Error> {
    let missing = Error::Static("ERR could not decode requested zset member");
    zset.score(member).map(Point::of_score).ok_or(missing)
}

fn geoadd(ctx: &mut Ctx) -> Result<(), Error> {
    let mut first = 2;
    let (mut nx, mut xx) = (false, false);
    while first < ctx.args.len() {
        match ctx.arg(first).to_ascii_lowercase().as_slice() {
            b"nx" => nx = true,
            b"xx" => xx = true,
            b"ch" => {}
            _ => break,
        }
        first += 1;
    }
    if !(ctx.args.len() - first).is_multiple_of(3) || (nx && xx) {
        return Err(Error::SYNTAX);
    }
    // The same as ZADD with the places' scores, in files as well.
    let mut command = OwnedArgs::default();
    command.push(b"ZADD");
    (1..first).for_each(|index| command.push(ctx.arg(index)));
    for at in (first..ctx.args.len()).step_by(3) {
        let score = point(ctx.args, at)?.score();
        command.push(itoa::Buffer::new().format(score as u64).as_bytes());
        command.push(ctx.arg(at + 2));
    }
    ctx.run_as(command, family::zadd)
}

fn geodist(ctx: &mut Ctx) -> Result<(), Error> {
    let unit = match ctx.args.len() {
        4 => 1.0,
        5 => unit(ctx.arg(4))?,
        _ => return Err(Error::SYNTAX),
    };
    let zset = read(ctx.keys, ctx.args.get(1))?;
    let place = |member: &[u8]| zset.and_then(|zset| zset.score(member)).map(Point::of_score);
    match (place(ctx.args.get(2)), place(ctx.args.get(3))) {
        (Some(from), Some(to)) => write_distance(ctx.out, from.distance(to) / unit),
        _ => ctx.out.null(),
    }
    Ok(())
}

fn write_distance(out: &mut Reply, distance: f64) {
    out.bulk(format!("{distance:.4}").as_bytes());
}

fn write_point(out: &mut Reply, point: Point) {
    out.array(2);
    for degrees in [point.longitude, point.latitude] {
        out.double_text(&LongDouble::from(degrees).to_human());
    }
}

fn geohash(ctx: &mut Ctx) -> Result<(), Error> {
    let zset = read(ctx.keys, ctx.args.get(1))?;
    let members = ctx.args.from(2);
    ctx.out.array(members.len());
    for member in members.iter() {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => ctx.out.bulk(&Point::of_score(score).hash_text()),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

fn geopos(ctx: &mut Ctx) -> Result<(), Error> {
    let zset = read(ctx.keys, ctx.args.get(1))?;
    let members = ctx.args.from(2);
    ctx.out.array(members.len());
    for member in members.iter() {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => write_point(ctx.out, Point::of_score(score)),
            None => ctx.out.null_array(),
        }
    }
    Ok(())
}

/// How a search is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// GEORADIUS: longitude, latitude, radius and unit in front.
    Radius { may_store: bool },
    /// GEORADIUSBYMEMBER: a member, radius and unit in front.
    ByMember { may_store: bool },
    /// GEOSEARCH: all by words.
    Search,
    /// GEOSEARCHSTORE: the same, with the destination in front.
    SearchStore,
}

impl Form {
    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }

    fn source(self) -> usize {
        if self == Form::SearchStore { 2 } else { 1 }
    }

    fn event(self) -> &'static str {
        if self == Form::SearchStore { "geosearchstore" } else { "georadiusstore" }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Nearest,
    Farthest,
}

/// What a search is to find, and what of it is wanted.
struct Search<'a> {
    centre: Option<Point>,
    /// A place of the set is the centre; none is known if there is no set.
    from_member: bool,
    shape: Option<Shape>,
    /// Metres in the unit of distances.
    unit: f64,
    with_distance: bool,
    with_hash: bool,
    with_point: bool,
    /// 0 for all.
    count: usize,
    /// Any that are found first will do.
    any: bool,
    order: Option<Order>,
    store: Option<&'a [u8]>,
    /// Distances are stored as scores, instead of the places themselves.
    store_distances: bool,
}

impl<'a> Search<'a> {
    fn parse(args: Args<'a>, form: Form, zset: Option<Zset<'_>>) -> Result<Search<'a>, Error> {
        let mut search = Search {
            centre: None,
            from_member: false,
            shape: None,
            unit: 1.0,
            with_distance: false,
            with_hash: false,
            with_point: false,
            count: 0,
            any: false,
            order: None,
            store: (form == Form::SearchStore).then(|| args.get(1)),
            store_distances: false,
        };
        let mut at = match form {
            Form::Radius { .. } => {
                search.centre = Some(point(args, 2)?);
                search.circle(args, 4)?;
                6
            }
            Form::ByMember { .. } => {
                search.from_member = true;
                if let Some(zset) = zset {
                    search.centre = Some(place(zset, args.get(2))?);
                    search.circle(args, 3)?;
                }
                5
            }
            Form::Search | Form::SearchStore => form.source() + 1,
        };
        while at < args.len() {
            at += search.option(args, at, form, zset)?;
        }
        search.check(args, form)?;
        Ok(search)
    }

    /// A radius and its unit.
    fn circle(&mut self, args: Args<'_>, at: usize) -> Result<(), Error> {
        let radius = number(args.get(at), "ERR need numeric radius")?;
        if radius < 0.0 {
            return Err(Error::Static("ERR radius cannot be negative"));
        }
        self.unit = unit(args.get(at + 1))?;
        self.shape = Some(Shape::Circle { radius: radius * self.unit });
        Ok(())
    }

    /// Width, height and their unit.
    fn rectangle(&mut self, args: Args<'_>, at: usize) -> Result<(), Error> {
        let width = number(args.get(at), "ERR need numeric width")?;
        let height = number(args.get(at + 1), "ERR need numeric height")?;
        if width < 0.0 || height < 0.0 {
            return Err(Error::Static("ERR height or width cannot be negative"));
        }
        self.unit = unit(args.get(at + 2))?;
        self.shape = Some(Shape::Box { width: width * self.unit, height: height * self.unit });
        Ok(())
    }

    /// Takes the option at an argument; returns how many arguments it has.
    fn option(
        &mut self,
        args: Args<'a>,
        at: usize,
        form: Form,
        zset: Option<Zset<'_>>,
    ) -> Result<usize, Error> {
        let behind = args.len() - at - 1;
        let may_store =
            matches!(form, Form::Radius { may_store: true } | Form::ByMember { may_store: true });
        match args.get(at).to_ascii_lowercase().as_slice() {
            b"withdist" => self.with_distance = true,
            b"withhash" => self.with_hash = true,
            b"withcoord" => self.with_point = true,
            b"any" => self.any = true,
            b"asc" => self.order = Some(Order::Nearest),
            b"desc" => self.order = Some(Order::Farthest),
            b"count" if behind >= 1 => {
                let count = parse_i64(args.get(at + 1)).ok_or(Error::NOT_AN_INTEGER)?;
                if count <= 0 {
                    return Err(Error::Static("ERR COUNT must be > 0"));
                }
                self.count = count as usize;
                return Ok(2);
            }
            word @ (b"store" | b"storedist") if behind >= 1 && may_store => {
                self.store = Some(args.get(at + 1));
                self.store_distances = word == b"storedist";
                return Ok(2);
            }
            b"storedist" if form == Form::SearchStore => self.store_distances = true,
            b"frommember" if behind >= 1 && form.is_search() && !self.is_from_point() => {
                self.from_member = true;
                if let Some(zset) = zset {
                    self.centre = Some(place(zset, args.get(at + 1))?);
                }
                return Ok(2);
            }
            b"fromlonlat" if behind >= 2 && form.is_search() && !self.from_member => {
                self.centre = Some(point(args, at + 1)?);
                return Ok(3);
            }
            b"byradius"
                if behind >= 2
                    && form.is_search()
                    && !matches!(self.shape, Some(Shape::Box { .. })) =>
            {
                self.circle(args, at + 1)?;
                return Ok(3);
            }
            b"bybox"
                if behind >= 3
                    && form.is_search()
                    && !matches!(self.shape, Some(Shape::Circle { .. })) =>
            {
                self.rectangle(args, at + 1)?;
                return Ok(4);
            }
            _ => return Err(Error::SYNTAX),
        }
        Ok(1)
    }

    fn is_from_point(&self) -> bool {
        self.centre.is_some() && !self.from_member
    }

    fn check(&self, args: Args<'_>, form: Form) -> Result<(), Error> {
        let name = String::from_utf8_lossy(args.get(0));
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_point) {
            let what = match form {
                Form::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            let text = "is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
            return Err(Error::Text(format!("ERR {what} {text}")));
        }
        if form.is_search() && !self.from_member && self.centre.is_none() {
            return Err(Error::Text(format!(
                "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
            )));
        }
        if form.is_search() && self.shape.is_none() {
            return Err(Error::Text(format!(
                "ERR exactly one of BYRADIUS and BYBOX can be specified for {name}"
            )));
        }
        if self.any && self.count == 0 {
            return Err(Error::Static("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// The places found, in the order asked for, and not more of them.
    fn find<'z>(&self, zset: Zset<'z>) -> Vec<Found<'z>> {
        let (Some(centre), Some(shape)) = (self.centre, self.shape) else { return Vec::new() };
        let enough = if self.any { self.count } else { usize::MAX };
        let ranges = shape.ranges(centre).into_iter();
        let mut found: Vec<Found> = ranges
            .flat_map(|range| zset.range_by_score(range.start, range.end.next_down()))
            .filter_map(|(member, score)| {
                let distance = shape.distance_within(centre, Point::of_score(score))?;
                Some(Found { member, score, distance })
            })
            .take(enough)
            .collect();
        // The nearest are meant if only so many are wanted.
        let order = self.order.or((self.count > 0 && !self.any).then_some(Order::Nearest));
        let nearer = |a: &Found, b: &Found| a.distance.total_cmp(&b.distance);
        match order {
            Some(Order::Nearest) => found.sort_by(nearer),
            Some(Order::Farthest) => found.sort_by(|a, b| nearer(b, a)),
            None => {}
        }
        if self.count > 0 {
            found.truncate(self.count);
        }
        found
    }
}

/// A place within the shape; its distance is in metres.
struct Found<'a> {
    member: &'a [u8],
    score: f64,
    distance: f64,
}

fn search(ctx: &mut Ctx, form: Form) -> Result<(), Error> {
    let limits = family::limits(ctx);
    let zset = read(ctx.keys, ctx.args.get(form.source()))?;
    let search = Search::parse(ctx.args, form, zset)?;
    let found = zset.map(|zset| search.find(zset)).unwrap_or_default();
    let Some(destination) = search.store else {
        write(ctx.out, &search, &found);
        return Ok(());
    };
    let mut result = family::empty();
    let len = found.len();
    for Found { member, score, distance } in found {
        let score = if search.store_distances { distance / search.unit } else { score };
        zset::insert(&mut result, member, score, &limits);
    }
    store(ctx, destination, result, len, class::ZSET, form.event());
    Ok(())
}

fn write(out: &mut Reply, search: &Search, found: &[Found]) {
    let details = [search.with_distance, search.with_hash, search.with_point];
    let details = details.iter().filter(|wanted| **wanted).count();
    out.array(found.len());
    for place in found {
        if details > 0 {
            out.array(1 + details);
        }
        out.bulk(place.member);
        if search.with_distance {
            write_distance(out, place.distance / search.unit);
        }
        if search.with_hash {
            out.int(place.score as i64);
        }
        if search.with_point {
            write_point(out, Point::of_score(place.score));
        }
    }
}
