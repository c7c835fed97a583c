//! What the fuzzer can say: one row a command or a way to use it, by families.
//!
//! A row is a weight within its family, a syntax, and how the replies of two servers are
//! compared. Of the syntax (`syntax.rs` reads it):
//!
//! - `UPPER-CASE` words and `'quoted'` ones stand for themselves; the first is the command, with
//!   its subcommand behind a `|`.
//! - lower-case words are random values: `generate.rs` has their list. `key:list` is a key that
//!   mostly holds a list, `keys:list` is a number and that many keys, `fields` one of fields.
//! - `[...]` may be left out, `(...)` is a group, `|` separates alternatives in both.
//! - `x+` is x once to a few times, `x*` the same or not at all, `x^` is x as often as the last
//!   `+`, `*`, `keys` or `fields` counted.
//!
//! Time-dependent rows need care: what expires or is old must be so by far, on both servers.

/// How the replies of two servers are compared. Errors are always compared by their text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Exact,
    /// Numbers in strings by value: 7.2 writes fewer digits than 7.0.
    Doubles,
    /// The elements in any order.
    Unordered,
    /// As `Unordered` and `Doubles` together.
    UnorderedDoubles,
    /// Keys with values, in any order; flat in RESP2.
    Pairs,
    /// The same types and lengths: the contents are random.
    Shape,
    /// The same type at the top: a cursor and what comes with it, a number of the server's own.
    Kind,
    /// A time: equal, or not by more than the servers may be apart.
    Near,
    /// XINFO without idle times and the layout of radix trees.
    Info,
    /// XPENDING's entries without their idle times.
    Pending,
    /// SPOP: the other server is made to remove the same members.
    Spop,
    /// Not for redis-server 7.0, which has the command but not this way to use it.
    Alone,
}

use Check::*;

pub type Row = (u32, &'static str, Check);

pub const FAMILIES: &[(&str, &[Row])] = &[
    ("strings", STRINGS),
    ("hashes", HASHES),
    ("lists", LISTS),
    ("sets", SETS),
    ("zsets", ZSETS),
    ("streams", STREAMS),
    ("bitmaps", BITMAPS),
    ("hyperloglogs", HYPERLOGLOGS),
    ("geo", GEO),
    ("keys", KEYS),
    ("expiration", EXPIRATION),
    ("sort", SORT),
];

/// Data commands that no row draws, and why.
pub const EXCUSED: &[(&str, &str)] = &[
    ("dump", "the payload has a version and a checksum of its own; tested with RESTORE"),
    ("restore", "its payloads come from DUMP"),
    ("restore-asking", "its payloads come from DUMP"),
    ("migrate", "needs another server"),
    ("wait", "says nothing of the data"),
    ("waitaof", "says nothing of the data"),
    ("object|help", "a text"),
    ("xgroup|help", "a text"),
    ("xinfo|help", "a text"),
    ("pfselftest", "says nothing of the data"),
];

const STRINGS: &[Row] = &[
    (8, "SET key:str value", Exact),
    (4, "SET key:int int", Exact),
    (4, "SET key:str value [NX | XX] [GET] [KEEPTTL | EX seconds | PX ms | EXAT later-s]", Exact),
    (2, "SET key:any value [NX | XX] [GET] [KEEPTTL | PXAT later-ms]", Exact),
    (3, "SET key:str tiny", Exact),
    (
        3,
        "SET key:str tiny [IFEQ tiny | IFNE tiny | IFDEQ digest | IFDNE digest] [GET] \
         [KEEPTTL | EX seconds]",
        Alone,
    ),
    (1, "DELEX key:str [IFEQ tiny | IFNE tiny | IFDEQ digest | IFDNE digest]", Exact),
    (1, "DELIFEQ key:str tiny", Exact),
    (1, "DIGEST key:str", Exact),
    (
        2,
        "MSETEX 2 key:str value key:str tiny [NX | XX] \
         [KEEPTTL | EX seconds | PX ms | EXAT later-s | PXAT later-ms]",
        Exact,
    ),
    (3, "GET key:str", Exact),
    (2, "GET key:any", Exact),
    (1, "GETDEL key:str", Exact),
    (2, "GETEX key:str [EX seconds | PX ms | EXAT at-s | PXAT at-ms | PERSIST]", Exact),
    (2, "GETSET key:str value", Exact),
    (2, "SETNX key:str value", Exact),
    (1, "SETEX key:str seconds value", Exact),
    (1, "PSETEX key:str ms value", Exact),
    (2, "MGET key:str+", Exact),
    (2, "MSET (key:str value)+", Exact),
    (1, "MSETNX (key:str value)+", Exact),
    (3, "APPEND key:str value", Exact),
    (2, "STRLEN key:str", Exact),
    (2, "GETRANGE key:str index index", Exact),
    (1, "SUBSTR key:str index index", Exact),
    (3, "SETRANGE key:str offset value", Exact),
    (3, "INCR key:int", Exact),
    (2, "DECR key:int", Exact),
    (3, "INCRBY key:int int", Exact),
    (2, "DECRBY key:int int", Exact),
    (3, "INCRBYFLOAT key:int float", Exact),
    (2, "LCS key:str key:str [LEN] [IDX] [MINMATCHLEN small] [WITHMATCHLEN]", Exact),
];

const HASHES: &[Row] = &[
    (10, "HSET key:hash (field value)+", Exact),
    (2, "HMSET key:hash (field value)+", Exact),
    (2, "HSETNX key:hash field value", Exact),
    (3, "HGET key:hash field", Exact),
    (2, "HMGET key:hash field+", Exact),
    (4, "HDEL key:hash field+", Exact),
    (2, "HEXISTS key:hash field", Exact),
    (2, "HLEN key:hash", Exact),
    (1, "HSTRLEN key:hash field", Exact),
    (2, "HGETALL key:hash", Pairs),
    (1, "HKEYS key:hash", Unordered),
    (1, "HVALS key:hash", Unordered),
    (2, "HSET key:hash field int", Exact),
    (3, "HINCRBY key:hash field int", Exact),
    (2, "HINCRBYFLOAT key:hash field float", Exact),
    (1, "HRANDFIELD key:hash", Shape),
    (1, "HRANDFIELD key:hash few [WITHVALUES]", Shape),
    (1, "HSCAN key:hash cursor [MATCH pattern] [COUNT count]", Kind),
    (1, "HSCAN key:hash cursor NOVALUES", Alone),
    (3, "HEXPIRE key:hash seconds [NX | XX | GT | LT] FIELDS fields", Exact),
    (3, "HPEXPIRE key:hash ms [NX | XX | GT | LT] FIELDS fields", Exact),
    (2, "HEXPIREAT key:hash at-s [NX | XX | GT | LT] FIELDS fields", Exact),
    (2, "HPEXPIREAT key:hash at-ms [NX | XX | GT | LT] FIELDS fields", Exact),
    (1, "HTTL key:hash FIELDS fields", Exact),
    (1, "HPTTL key:hash FIELDS fields", Exact),
    (1, "HEXPIRETIME key:hash FIELDS fields", Exact),
    (1, "HPEXPIRETIME key:hash FIELDS fields", Exact),
    (2, "HPERSIST key:hash FIELDS fields", Exact),
    (2, "HGETDEL key:hash FIELDS fields", Exact),
    (
        2,
        "HGETEX key:hash [EX seconds | PX ms | EXAT at-s | PXAT at-ms | PERSIST] FIELDS fields",
        Exact,
    ),
    (
        3,
        "HSETEX key:hash [FNX | FXX] [KEEPTTL | EX seconds | PX ms | EXAT at-s | PXAT at-ms] \
         FIELDS 2 field value field value",
        Exact,
    ),
];

const LISTS: &[Row] = &[
    (8, "RPUSH key:list member+", Exact),
    (6, "LPUSH key:list member+", Exact),
    (2, "RPUSHX key:list member+", Exact),
    (2, "LPUSHX key:list member+", Exact),
    (3, "RPUSH key:list value+", Exact),
    (4, "LPOP key:list [count]", Exact),
    (4, "RPOP key:list [count]", Exact),
    (2, "LLEN key:list", Exact),
    (2, "LINDEX key:list index", Exact),
    (3, "LINSERT key:list (BEFORE | AFTER) member member", Exact),
    (3, "LSET key:list index member", Exact),
    (4, "LRANGE key:list index index", Exact),
    (1, "LRANGE key:list 0 -1", Exact),
    (3, "LREM key:list few member", Exact),
    (2, "LTRIM key:list index index", Exact),
    (2, "LPOS key:list member [RANK int] [COUNT count] [MAXLEN count]", Exact),
    (2, "RPOPLPUSH key:list key:list", Exact),
    (3, "LMOVE key:list key:list (LEFT | RIGHT) (LEFT | RIGHT)", Exact),
    (2, "LMPOP keys:list (LEFT | RIGHT) [COUNT count]", Exact),
    (1, "BLPOP key:list+ timeout", Exact),
    (1, "BRPOP key:list+ timeout", Exact),
    (1, "BRPOPLPUSH key:list key:list timeout", Exact),
    (1, "BLMOVE key:list key:list (LEFT | RIGHT) (LEFT | RIGHT) timeout", Exact),
    (1, "BLMPOP timeout keys:list (LEFT | RIGHT) [COUNT count]", Exact),
];

const SETS: &[Row] = &[
    (8, "SADD key:set member+", Exact),
    (5, "SADD key:ints small+", Exact),
    (2, "SADD key:ints int+", Exact),
    (4, "SREM key:set member+", Exact),
    (2, "SREM key:ints small+", Exact),
    (2, "SCARD key:set", Exact),
    (2, "SISMEMBER key:set member", Exact),
    (1, "SISMEMBER key:ints int", Exact),
    (2, "SMISMEMBER key:set member+", Exact),
    (2, "SMEMBERS (key:set | key:ints)", Unordered),
    (2, "SMOVE (key:set | key:ints) (key:set | key:ints) member", Exact),
    (2, "SPOP (key:set | key:ints) [count]", Spop),
    (1, "SRANDMEMBER (key:set | key:ints)", Shape),
    (1, "SRANDMEMBER (key:set | key:ints) few", Shape),
    (2, "SINTER (key:set | key:ints)+", Unordered),
    (2, "SUNION (key:set | key:ints)+", Unordered),
    (2, "SDIFF (key:set | key:ints)+", Unordered),
    (2, "SINTERSTORE key:set (key:set | key:ints)+", Exact),
    (2, "SUNIONSTORE key:set (key:set | key:ints)+", Exact),
    (2, "SDIFFSTORE key:set (key:set | key:ints)+", Exact),
    (1, "SINTERSTORE key:ints key:ints+", Exact),
    (2, "SINTERCARD keys:set [LIMIT int]", Exact),
    (1, "SSCAN (key:set | key:ints) cursor [MATCH pattern] [COUNT count]", Kind),
];

const ZSETS: &[Row] = &[
    (10, "ZADD key:zset (score member)+", Exact),
    (5, "ZADD key:zset [NX | XX] [GT | LT] [CH] (score member)+", Exact),
    (2, "ZADD key:zset [NX | XX] [GT | LT] [CH] INCR score member", Doubles),
    (3, "ZADD key:lex (0 member)+", Exact),
    (3, "ZINCRBY key:zset score member", Doubles),
    (3, "ZREM key:zset member+", Exact),
    (2, "ZCARD key:zset", Exact),
    (2, "ZSCORE key:zset member", Doubles),
    (2, "ZMSCORE key:zset member+", Doubles),
    (2, "ZRANK key:zset member", Exact),
    (1, "ZREVRANK key:zset member", Exact),
    (1, "ZRANK key:zset member WITHSCORE", Alone),
    (1, "ZREVRANK key:zset member WITHSCORE", Alone),
    (2, "ZCOUNT key:zset bound bound", Exact),
    (2, "ZLEXCOUNT key:lex lex lex", Exact),
    (3, "ZRANGE key:zset index index [REV] [WITHSCORES]", Doubles),
    (3, "ZRANGE key:zset bound bound BYSCORE [REV] [LIMIT index index] [WITHSCORES]", Doubles),
    (3, "ZRANGE key:lex lex lex BYLEX [REV] [LIMIT index index]", Exact),
    (1, "ZRANGE key:zset index index [BYSCORE | BYLEX] [REV] [LIMIT int int]", Doubles),
    (2, "ZRANGESTORE key:zset key:zset index index [REV]", Exact),
    (2, "ZRANGESTORE key:zset key:zset bound bound BYSCORE [REV] [LIMIT index index]", Exact),
    (1, "ZRANGESTORE key:lex key:lex lex lex BYLEX [REV] [LIMIT index index]", Exact),
    (1, "ZRANGEBYSCORE key:zset bound bound [WITHSCORES] [LIMIT index index]", Doubles),
    (1, "ZREVRANGEBYSCORE key:zset bound bound [WITHSCORES] [LIMIT index index]", Doubles),
    (1, "ZRANGEBYLEX key:lex lex lex [LIMIT index index]", Exact),
    (1, "ZREVRANGEBYLEX key:lex lex lex [LIMIT index index]", Exact),
    (1, "ZREVRANGE key:zset index index [WITHSCORES]", Doubles),
    (1, "ZREMRANGEBYRANK key:zset index index", Exact),
    (1, "ZREMRANGEBYSCORE key:zset bound bound", Exact),
    (1, "ZREMRANGEBYLEX key:lex lex lex", Exact),
    (2, "ZPOPMIN key:zset [count]", Doubles),
    (2, "ZPOPMAX key:zset [count]", Doubles),
    (2, "ZMPOP keys:zset (MIN | MAX) [COUNT count]", Doubles),
    (1, "BZPOPMIN key:zset+ timeout", Doubles),
    (1, "BZPOPMAX key:zset+ timeout", Doubles),
    (1, "BZMPOP timeout keys:zset (MIN | MAX) [COUNT count]", Doubles),
    (1, "ZRANDMEMBER key:zset", Shape),
    (1, "ZRANDMEMBER key:zset few [WITHSCORES]", Shape),
    (2, "ZUNION keys:mixed [WEIGHTS weight^] [AGGREGATE (SUM | MIN | MAX)] [WITHSCORES]", Doubles),
    (2, "ZINTER keys:mixed [WEIGHTS weight^] [AGGREGATE (SUM | MIN | MAX)] [WITHSCORES]", Doubles),
    (1, "ZDIFF keys:mixed [WITHSCORES]", Doubles),
    (1, "ZINTERCARD keys:mixed [LIMIT int]", Exact),
    (
        2,
        "ZUNIONSTORE key:zset keys:mixed [WEIGHTS weight-stored^] [AGGREGATE (SUM | MIN | MAX)]",
        Exact,
    ),
    (
        2,
        "ZINTERSTORE key:zset keys:mixed [WEIGHTS weight-stored^] [AGGREGATE (SUM | MIN | MAX)]",
        Exact,
    ),
    (1, "ZDIFFSTORE key:zset keys:mixed", Exact),
    (1, "ZSCAN key:zset cursor [MATCH pattern] [COUNT count]", Kind),
];

const STREAMS: &[Row] = &[
    (10, "XADD key:stream new-id (field value)+", Exact),
    (2, "XADD key:stream NOMKSTREAM new-id (field value)+", Exact),
    (
        3,
        "XADD key:stream [NOMKSTREAM] (MAXLEN ['='] count | MINID ['='] id) new-id (field value)+",
        Exact,
    ),
    (1, "XADD key:stream (MAXLEN '~' count | MINID '~' id) [LIMIT count] '*' field value", Alone),
    (3, "XADD key:stream '*' (field value)+", Alone),
    (2, "XDEL key:stream id+", Exact),
    (2, "XLEN key:stream", Exact),
    (3, "XRANGE key:stream range-id range-id [COUNT count]", Exact),
    (2, "XREVRANGE key:stream range-id range-id [COUNT count]", Exact),
    (2, "XTRIM key:stream (MAXLEN ['='] count | MINID ['='] id)", Exact),
    (1, "XTRIM key:stream (MAXLEN '~' count | MINID '~' id) [LIMIT count]", Alone),
    (2, "XREAD [COUNT count] STREAMS key:stream+ read-id^", Exact),
    (1, "XREAD [COUNT count] BLOCK block-ms STREAMS key:stream+ read-id^", Exact),
    (1, "XREAD [COUNT count] STREAMS key:stream+ '+'^", Alone),
    (1, "XSETID key:stream high-id [ENTRIESADDED small] [MAXDELETEDID id]", Exact),
    (4, "XGROUP|CREATE key:stream group group-id [MKSTREAM] [ENTRIESREAD small]", Exact),
    (1, "XGROUP|SETID key:stream group group-id [ENTRIESREAD small]", Exact),
    (1, "XGROUP|DESTROY key:stream group", Exact),
    (2, "XGROUP|CREATECONSUMER key:stream group consumer", Exact),
    (1, "XGROUP|DELCONSUMER key:stream group consumer", Exact),
    (
        6,
        "XREADGROUP GROUP group consumer [COUNT count] [NOACK] STREAMS key:stream+ ('>' | id)^",
        Exact,
    ),
    (
        1,
        "XREADGROUP GROUP group consumer [COUNT count] BLOCK block-ms [NOACK] \
         STREAMS key:stream+ '>'^",
        Exact,
    ),
    (3, "XACK key:stream group id+", Exact),
    (2, "XPENDING key:stream group", Exact),
    (2, "XPENDING key:stream group [IDLE min-idle] range-id range-id count [consumer]", Pending),
    (
        3,
        "XCLAIM key:stream group consumer min-idle id+ [IDLE min-idle | TIME min-idle] \
         [RETRYCOUNT small] [FORCE] [JUSTID] [LASTID id]",
        Exact,
    ),
    (2, "XAUTOCLAIM key:stream group consumer min-idle id [COUNT count] [JUSTID]", Exact),
    (1, "XINFO|STREAM key:stream", Info),
    (1, "XINFO|STREAM key:stream FULL [COUNT count]", Info),
    (1, "XINFO|GROUPS key:stream", Info),
    (1, "XINFO|CONSUMERS key:stream group", Info),
];

const BITMAPS: &[Row] = &[
    (5, "SETBIT key:bits offset bit", Exact),
    (2, "SET key:bits value", Exact),
    (2, "GETBIT key:bits offset", Exact),
    (2, "BITCOUNT key:bits [index index [BYTE | BIT]]", Exact),
    (2, "BITPOS key:bits bit [index [index [BYTE | BIT]]]", Exact),
    (3, "BITOP (AND | OR | XOR) key:bits key:bits+", Exact),
    (1, "BITOP NOT key:bits key:bits", Exact),
    (
        4,
        "BITFIELD key:bits (GET bit-type bit-offset | SET bit-type bit-offset int | \
         INCRBY bit-type bit-offset int | OVERFLOW (WRAP | SAT | FAIL))+",
        Exact,
    ),
    (2, "BITFIELD_RO key:bits (GET bit-type bit-offset)+", Exact),
];

const HYPERLOGLOGS: &[Row] = &[
    (6, "PFADD key:hll member*", Exact),
    (3, "PFADD key:hll value+", Exact),
    (3, "PFADD key:hll number+", Exact),
    (3, "PFCOUNT key:hll+", Exact),
    (2, "PFMERGE key:hll key:hll*", Exact),
    (1, "PFDEBUG (ENCODING | DECODE | TODENSE | GETREG) key:hll", Exact),
    (1, "GET key:hll", Exact),
];

const GEO: &[Row] = &[
    (8, "GEOADD key:geo [NX | XX] [CH] (longitude latitude place)+", Exact),
    (1, "GEOPOS key:geo place*", Doubles),
    (1, "GEOHASH key:geo place*", Exact),
    (1, "GEODIST key:geo place place [unit]", Exact),
    (2, "GEOSEARCH key:geo from by [WITHCOORD] [WITHDIST] [WITHHASH]", UnorderedDoubles),
    (
        2,
        "GEOSEARCH key:geo from by (ASC | DESC) [COUNT count] [WITHCOORD] [WITHDIST] [WITHHASH]",
        Doubles,
    ),
    (1, "GEOSEARCH key:geo from by COUNT count [ANY] [WITHDIST]", Shape),
    (2, "GEOSEARCHSTORE key:geo key:geo from by [ASC | DESC] [COUNT count]", Exact),
    // Distances are no places: all of them are at one point, and have no order to sort by.
    (1, "GEOSEARCHSTORE key:zset key:geo from by [ASC | DESC] [COUNT count] STOREDIST", Exact),
    (
        1,
        "GEORADIUS key:geo longitude latitude radius unit [WITHCOORD] [WITHDIST] [WITHHASH]",
        UnorderedDoubles,
    ),
    (
        1,
        "GEORADIUS key:geo longitude latitude radius unit [COUNT count] \
         (STORE key:geo | STOREDIST key:zset)",
        Exact,
    ),
    (
        1,
        "GEORADIUS_RO key:geo longitude latitude radius unit (ASC | DESC) [COUNT count] [WITHDIST]",
        Doubles,
    ),
    (1, "GEORADIUSBYMEMBER key:geo place radius unit [WITHCOORD] [WITHDIST]", UnorderedDoubles),
    (
        1,
        "GEORADIUSBYMEMBER key:geo place radius unit [COUNT count] \
         (STORE key:geo | STOREDIST key:zset)",
        Exact,
    ),
    (
        1,
        "GEORADIUSBYMEMBER_RO key:geo place radius unit (ASC | DESC) [COUNT count] [WITHDIST]",
        Doubles,
    ),
];

const KEYS: &[Row] = &[
    (5, "DEL key:any+", Exact),
    (1, "UNLINK key:any+", Exact),
    (2, "EXISTS key:any+", Exact),
    (1, "TOUCH key:any+", Exact),
    (2, "TYPE key:any", Exact),
    (2, "RENAME key:any key:any", Exact),
    (1, "RENAMENX key:any key:any", Exact),
    (3, "COPY key:any key:any [DB db] [REPLACE]", Exact),
    (1, "MOVE key:any db", Exact),
    (1, "KEYS pattern", Unordered),
    (1, "RANDOMKEY", Shape),
    (1, "DBSIZE", Exact),
    (1, "SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]", Kind),
    (3, "OBJECT|ENCODING key:any", Exact),
    (1, "OBJECT|REFCOUNT key:any", Kind),
    (1, "OBJECT|IDLETIME key:any", Kind),
    (1, "OBJECT|FREQ key:any", Kind),
    (1, "SWAPDB db db", Exact),
];

const EXPIRATION: &[Row] = &[
    (3, "EXPIRE key:any seconds [NX | XX | GT | LT]", Exact),
    (2, "PEXPIRE key:any ms [NX | XX | GT | LT]", Exact),
    (2, "EXPIREAT key:any at-s [NX | XX | GT | LT]", Exact),
    (2, "PEXPIREAT key:any at-ms [NX | XX | GT | LT]", Exact),
    (2, "PERSIST key:any", Exact),
    (2, "TTL key:any", Near),
    (2, "PTTL key:any", Near),
    (2, "EXPIRETIME key:any", Near),
    (2, "PEXPIRETIME key:any", Near),
];

// With BY and ALPHA equal weights have no order of their own, so those are compared as sets. With
// BY nosort a set has none, so the keys used there are of no other row.
const SORT: &[Row] = &[
    (4, "RPUSH key:nums small+", Exact),
    (2, "RPUSH key:nums score+", Exact),
    (2, "MSET (weight-key small)+", Exact),
    (1, "HSET key:hash field small", Exact),
    (3, "SORT key:nums [LIMIT index index] [ASC | DESC]", Exact),
    (2, "SORT (key:list | key:set | key:zset | key:nums) ALPHA [LIMIT index index] [DESC]", Exact),
    (2, "SORT key:nums BY weight-pattern [LIMIT index index] (GET get-pattern)* [DESC]", Exact),
    (1, "SORT (key:nums | key:set) BY weight-pattern ALPHA", Unordered),
    (2, "RPUSH 'pure:list' member+", Exact),
    (2, "ZADD 'pure:zset' (score member)+", Exact),
    (
        2,
        "SORT ('pure:list' | 'pure:zset') BY 'nosort' [LIMIT index index] (GET get-pattern)* \
         [DESC]",
        Exact,
    ),
    (2, "SORT key:nums [LIMIT index index] [DESC] (GET get-pattern)* STORE key:nums", Exact),
    (1, "SORT (key:set | key:ints) ALPHA STORE key:list", Exact),
    (1, "SORT_RO key:nums [BY weight-pattern] [LIMIT index index] [ASC | DESC]", Exact),
    (1, "SORT_RO key:set ALPHA (GET get-pattern)*", Exact),
];
