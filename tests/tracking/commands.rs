//! Random commands on few keys, and what a cache has to know of them.

use goredis::base::rng::Rng;

pub type Args = Vec<String>;

#[derive(Clone, Debug)]
pub struct Command {
    pub args: Args,
    /// The keys it names.
    pub keys: Vec<String>,
    /// Its reply depends on these keys alone, and may be cached.
    pub is_query: bool,
}

/// All names begin with one of these; some clients ask for some of them.
pub const PREFIXES: [&str; 4] = ["a", "b:", "c", "d:"];
const NUMBERS: usize = 5;

/// `K` is a key, `J` another one or the same, `N` a small number, `F` a field or member, `V` a
/// value, `T` milliseconds that soon pass.
const QUERIES: &[&str] = &[
    "GET K",
    "GET K",
    "GET K",
    "STRLEN K",
    "TYPE K",
    "EXISTS K",
    "EXISTS K J",
    "MGET K J",
    "GETRANGE K 0 2",
    "EXPIRETIME K",
    "GETBIT K N",
    "BITCOUNT K",
    "LRANGE K 0 -1",
    "LLEN K",
    "LINDEX K N",
    "LPOS K V",
    "SCARD K",
    "SISMEMBER K F",
    "SORT_RO K ALPHA",
    "SINTERCARD 2 K J",
    "HGET K F",
    "HLEN K",
    "HEXISTS K F",
    "HSTRLEN K F",
    "HMGET K F V",
    "ZRANGE K 0 -1 WITHSCORES",
    "ZSCORE K F",
    "ZCARD K",
    "ZRANK K F",
    "ZCOUNT K 0 2",
    "ZUNION 2 K J",
    "XLEN K",
    "XRANGE K - +",
    "XREAD COUNT 5 STREAMS K J 0 0",
    "LCS K J",
    "GEOPOS K F",
    "TOUCH K",
];

const CHANGES: &[&str] = &[
    "SET K N",
    "SET K V",
    "SET K V PX T",
    "SET K V NX",
    "SET K V KEEPTTL",
    "SET K N EX 100 GET",
    "SETEX K 100 V",
    "PSETEX K T V",
    "SETNX K V",
    "MSET K V J N",
    "MSETNX K V J V",
    "INCR K",
    "INCRBYFLOAT K 0.5",
    "APPEND K V",
    "SETRANGE K N V",
    "GETSET K V",
    "GETDEL K",
    "GETEX K PX T",
    "GETEX K PERSIST",
    "SETBIT K N 1",
    "BITOP OR K J K",
    "BITFIELD K SET u4 0 N",
    "DEL K",
    "DEL K J",
    "UNLINK K J",
    "RENAME K J",
    "RENAMENX K J",
    "COPY K J",
    "COPY K J REPLACE",
    "MOVE K 1",
    "EXPIRE K 100",
    "PEXPIRE K T",
    "EXPIRE K -1",
    "PERSIST K",
    "LPUSH K V",
    "RPUSH K V N",
    "LPOP K",
    "RPOP K 2",
    "LSET K N V",
    "LREM K 1 V",
    "LTRIM K 0 1",
    "LINSERT K BEFORE V N",
    "LMOVE K J LEFT RIGHT",
    "RPOPLPUSH K J",
    "LMPOP 2 K J LEFT",
    "BLPOP K J 0.01",
    "BLMOVE K J LEFT LEFT 0.01",
    "BRPOP K 0.01",
    "SADD K F V",
    "SREM K F",
    "SPOP K",
    "SMOVE K J F",
    "SINTERSTORE K K J",
    "SUNIONSTORE K J K",
    "SDIFFSTORE K J K",
    "HSET K F V",
    "HDEL K F",
    "HINCRBY K F 1",
    "HSETNX K F V",
    "ZADD K N F",
    "ZADD K NX N V",
    "ZREM K F",
    "ZINCRBY K 1 F",
    "ZPOPMIN K",
    "ZMPOP 2 K J MAX",
    "BZPOPMIN K 0.01",
    "ZRANGESTORE K J 0 1",
    "ZUNIONSTORE K 2 J K",
    "ZREMRANGEBYRANK K 0 0",
    "XADD K * F V",
    "XTRIM K MAXLEN 1",
    "XDEL K 1-1",
    "PFADD K V",
    "PFMERGE K J",
    "SORT K ALPHA STORE J",
    "GEOADD K 1 N F",
    "XGROUP CREATE K F 0 MKSTREAM",
];

/// What only goredis knows, and what may find any key to be due, of which redis-server tells less
/// than it must.
const OURS_ALONE: &[&str] =
    &["HPEXPIRE K T FIELDS 1 F", "HPEXPIRE K T FIELDS 2 F V", "HSET K F V", "RANDOMKEY"];

pub struct Generator {
    pub rng: Rng,
    /// The server is goredis.
    pub ours: bool,
}

impl Generator {
    /// Once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.rng.index(times) == 0
    }

    pub fn key(&mut self) -> String {
        format!("{}{}", PREFIXES[self.rng.index(PREFIXES.len())], self.rng.index(NUMBERS))
    }

    pub fn query(&mut self) -> Command {
        let mut query = self.one_of(QUERIES);
        query.is_query = true;
        query
    }

    pub fn change(&mut self) -> Command {
        match self.rng.index(1000) {
            0 => self.fill("FLUSHALL"),
            1 => self.fill("FLUSHDB"),
            // All keys may be others then, but redis-server tells nobody.
            2 if self.ours => self.fill("SWAPDB 0 1"),
            3..80 if self.ours => self.one_of(OURS_ALONE),
            _ => self.one_of(CHANGES),
        }
    }

    fn one_of(&mut self, patterns: &[&str]) -> Command {
        let index = self.rng.index(patterns.len());
        self.fill(patterns[index])
    }

    fn fill(&mut self, pattern: &str) -> Command {
        let mut keys = Vec::new();
        let first = self.key();
        let args = pattern.split(' ').map(|word| match word {
            "K" | "J" => {
                let key = if word == "K" { first.clone() } else { self.key() };
                keys.push(key.clone());
                key
            }
            "N" => self.rng.index(4).to_string(),
            "F" => format!("f{}", self.rng.index(3)),
            "V" => format!("v{}", self.rng.index(50)),
            "T" => (1 + self.rng.index(30)).to_string(),
            word => word.to_string(),
        });
        let args = args.collect();
        Command { args, keys, is_query: false }
    }
}
