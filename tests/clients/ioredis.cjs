// ioredis, as a program uses it; the server is at GOREDIS_PORT. Each section begins with empty
// databases; the first failure ends the run.
"use strict";
const assert = require("node:assert/strict");
const Redis = require("ioredis");

const DEADLINE_MS = 20000;
const open = new Set();

function connect(options = {}) {
  const redis = new Redis({
    host: "127.0.0.1",
    port: Number(process.env.GOREDIS_PORT),
    maxRetriesPerRequest: 0,
    ...options,
  });
  redis.on("error", () => {});
  open.add(redis);
  return redis;
}

async function waitUntil(condition) {
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, "waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const blocked = async (r, count) =>
  waitUntil(async () => (await r.info("clients")).includes(`blocked_clients:${count}\r\n`));

// The next `count` events of this kind, as lists of their arguments.
function events(emitter, kind, count) {
  return new Promise((resolve) => {
    const got = [];
    const listener = (...args) => {
      got.push(args);
      if (got.length === count) {
        emitter.off(kind, listener);
        resolve(got);
      }
    };
    emitter.on(kind, listener);
  });
}

async function scanned(stream) {
  const found = [];
  for await (const part of stream) found.push(...part);
  return found;
}

const sections = {
  async strings(r) {
    assert.equal(await r.set("k", "v"), "OK");
    assert.equal(await r.get("k"), "v");
    assert.equal(await r.get("missing"), null);
    assert.equal(await r.set("k", "w", "NX"), null);
    assert.equal(await r.incrby("n", 5), 5);
    assert.equal(await r.incrbyfloat("f", 1.25), "1.25");
    assert.equal(await r.mset({ a: 1, b: 2 }), "OK");
    assert.deepEqual(await r.mget("a", "b", "c"), ["1", "2", null]);
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => n));
    await r.set("bytes", bytes);
    assert.deepEqual(await r.getBuffer("bytes"), bytes);
    await assert.rejects(r.incr("k"), /not an integer/);
    await assert.rejects(r.call("NOSUCHCOMMAND"), /unknown command/);
  },

  async expiry(r) {
    await r.set("k", "v", "EX", 100);
    assert.ok((await r.ttl("k")) > 95);
    assert.equal(await r.persist("k"), 1);
    await r.set("short", "v", "PX", 30);
    await waitUntil(async () => (await r.get("short")) === null);
    assert.equal(await r.pexpire("k", 1), 1);
    await waitUntil(async () => (await r.dbsize()) === 0);
  },

  async hashes(r) {
    assert.equal(await r.hset("h", { a: 1, b: "x" }), 2);
    assert.deepEqual(await r.hgetall("h"), { a: "1", b: "x" });
    assert.equal(await r.hincrby("h", "a", 4), 5);
    assert.deepEqual(await r.hmget("h", "a", "none"), ["5", null]);
    assert.equal(await r.hdel("h", "a", "b"), 2);
    assert.equal(await r.exists("h"), 0);
  },

  async lists(r) {
    assert.equal(await r.rpush("l", "a", "b", "c"), 3);
    assert.deepEqual(await r.lrange("l", 0, -1), ["a", "b", "c"]);
    assert.equal(await r.lpop("l"), "a");
    assert.equal(await r.rpoplpush("l", "m"), "c");
    assert.equal(await r.lrem("l", 0, "b"), 1);
    await assert.rejects(r.get("m"), /WRONGTYPE/);
  },

  async setsAndSortedSets(r) {
    assert.equal(await r.sadd("s", "a", "b"), 2);
    await r.sadd("t", "b", "c");
    assert.deepEqual(await r.sinter("s", "t"), ["b"]);
    assert.deepEqual((await r.sunion("s", "t")).sort(), ["a", "b", "c"]);
    assert.equal(await r.zadd("z", 1, "a", 2.5, "b"), 2);
    assert.deepEqual(await r.zrange("z", 0, -1, "WITHSCORES"), ["a", "1", "b", "2.5"]);
    assert.deepEqual(await r.zrangebyscore("z", "(1", "+inf"), ["b"]);
    assert.equal(await r.zincrby("z", 10, "a"), "11");
    assert.equal(await r.zrevrank("z", "a"), 0);
    assert.deepEqual(await r.zpopmin("z"), ["b", "2.5"]);
  },

  async streams(r) {
    const first = await r.xadd("x", "*", "n", 1);
    const second = await r.xadd("x", "*", "n", 2);
    assert.deepEqual(await r.xrange("x", "-", "+"), [[first, ["n", "1"]], [second, ["n", "2"]]]);
    const reader = connect();
    const waits = reader.xread("BLOCK", DEADLINE_MS, "STREAMS", "x", "$");
    await blocked(r, 1);
    const third = await r.xadd("x", "*", "n", 3);
    assert.deepEqual(await waits, [["x", [[third, ["n", "3"]]]]]);
    assert.equal(await r.xgroup("CREATE", "x", "g", 0), "OK");
    const read = await r.xreadgroup("GROUP", "g", "alice", "COUNT", 2, "STREAMS", "x", ">");
    assert.deepEqual(read, [["x", [[first, ["n", "1"]], [second, ["n", "2"]]]]]);
    assert.equal(await r.xack("x", "g", first), 1);
    const pending = await r.xpending("x", "g");
    assert.deepEqual(pending, [1, second, second, [["alice", "1"]]]);
    const claimed = await r.xautoclaim("x", "g", "bob", 0, 0);
    assert.deepEqual(claimed[1], [[second, ["n", "2"]]]);
  },

  async scans(r) {
    const pipeline = r.pipeline();
    for (let n = 0; n < 2000; n++) pipeline.set(`key:${n}`, n).sadd("s", n).hset("h", `f${n}`, n);
    for (const [error] of await pipeline.exec()) assert.equal(error, null);
    const keys = await scanned(r.scanStream({ match: "key:*", count: 100 }));
    assert.equal(new Set(keys).size, 2000);
    assert.equal(new Set(await scanned(r.sscanStream("s"))).size, 2000);
    assert.ok((await scanned(r.hscanStream("h"))).length >= 4000);
  },

  async pipelines(r) {
    const replies = await r.pipeline().set("k", 1).incr("k").lpush("k", "x").get("k").exec();
    assert.deepEqual([replies[0], replies[1], replies[3]], [[null, "OK"], [null, 2], [null, "2"]]);
    assert.match(replies[2][0].message, /WRONGTYPE/);
    // Commands that are sent without waiting for each other's replies.
    const all = await Promise.all(Array.from({ length: 5000 }, () => r.incr("n")));
    assert.deepEqual(all, Array.from({ length: 5000 }, (_, n) => n + 1));
    const auto = connect({ enableAutoPipelining: true });
    assert.equal((await Promise.all(Array.from({ length: 100 }, () => auto.get("n")))).at(-1), "5000");
  },

  async transactions(r) {
    assert.deepEqual(await r.multi().set("k", 1).incr("k").exec(), [[null, "OK"], [null, 2]]);
    await r.watch("k");
    await connect().set("k", 100);
    assert.equal(await r.multi().set("k", 3).exec(), null);
    assert.equal(await r.get("k"), "100");
    await assert.rejects(r.multi().set("k").exec(), /EXECABORT/);
    await r.multi({ pipeline: false });
    assert.equal(await r.set("k", 5), "QUEUED");
    assert.equal(await r.discard(), "OK");
    assert.equal(await r.get("k"), "100");
  },

  async publishAndSubscribe(r) {
    const listener = connect();
    assert.equal(await listener.subscribe("news", "sport"), 2);
    assert.equal(await listener.psubscribe("w*"), 3);
    const messages = events(listener, "message", 2);
    const patterns = events(listener, "pmessage", 1);
    assert.equal(await r.publish("news", "hello"), 1);
    await r.publish("sport", "goal");
    await r.publish("weather", "rain");
    assert.deepEqual(await messages, [["news", "hello"], ["sport", "goal"]]);
    assert.deepEqual(await patterns, [["w*", "weather", "rain"]]);
    await assert.rejects(listener.get("k"), /subscriber mode/);
    assert.equal(await listener.unsubscribe("news"), 2);
    assert.deepEqual(await r.pubsub("NUMSUB", "news", "sport"), ["news", 0, "sport", 1]);
    assert.equal(await listener.unsubscribe("sport"), 1);
    assert.equal(await listener.punsubscribe("w*"), 0);
    assert.equal(await listener.ping(), "PONG");
  },

  async blocking(r) {
    const clients = [connect(), connect()];
    const waits = clients.map((client) => client.blpop("l", "m", DEADLINE_MS / 1000));
    await blocked(r, 2);
    await r.rpush("m", "1", "2");
    assert.deepEqual((await Promise.all(waits)).sort(), [["m", "1"], ["m", "2"]]);
    assert.equal(await clients[0].blpop("none", 0.05), null);
    const popped = clients[0].bzpopmax("z", 20);
    await blocked(r, 1);
    await r.zadd("z", 1, "a");
    assert.deepEqual(await popped, ["z", "a", "1"]);
  },

  async clientsOfTheServer(r) {
    const named = connect({ connectionName: "worker", db: 3 });
    await named.set("k", "v");
    const line = (await r.client("LIST")).split("\n").find((text) => text.includes("name=worker"));
    assert.match(line, / db=3 .* cmd=set user=default /);
    assert.equal(await r.client("PAUSE", DEADLINE_MS, "WRITE"), "OK");
    const waits = named.set("k", "w");
    await blocked(r, 1);
    assert.equal(await r.client("UNPAUSE"), "OK");
    assert.equal(await waits, "OK");
    // ioredis comes back by itself when its connection is closed.
    const reconnected = events(named, "ready", 1);
    assert.equal(await r.client("KILL", "ID", /id=(\d+)/.exec(line)[1]), 1);
    await reconnected;
    assert.equal(await named.get("k"), "w");
    const monitor = await r.monitor();
    open.add(monitor);
    const seen = events(monitor, "monitor", 1);
    await named.set("k", 'x "y"');
    const [[, args, , database]] = await seen;
    assert.deepEqual([args, database], [["set", "k", 'x "y"'], "3"]);
  },

  async accessControl(r) {
    await r.acl("SETUSER", "alice", "on", ">secret", "~app:*", "+@read", "+set", "+info", "+ping");
    const alice = connect({ username: "alice", password: "secret" });
    assert.equal(await alice.set("app:k", "v"), "OK");
    await assert.rejects(alice.set("k", "v"), /NOPERM/);
    await assert.rejects(alice.flushall(), /NOPERM/);
    const wrong = connect({ username: "alice", password: "wrong", retryStrategy: null });
    await assert.rejects(wrong.ping());
    assert.equal(await r.acl("DELUSER", "alice"), 1);
  },

  async tracking(r) {
    const listener = connect();
    const id = await listener.client("ID");
    await listener.subscribe("__redis__:invalidate");
    const reader = connect();
    assert.equal(await reader.client("TRACKING", "ON", "REDIRECT", id), "OK");
    await r.set("k", 1);
    assert.equal(await reader.get("k"), "1");
    const news = events(listener, "message", 1);
    await r.set("k", 2);
    assert.deepEqual(await news, [["__redis__:invalidate", "k"]]);
  },
};

async function main() {
  // Without work left to do, node ends even if this waits for something: then it has failed.
  process.exitCode = 1;
  for (const [name, section] of Object.entries(sections)) {
    const r = connect();
    await r.flushall();
    try {
      await section(r);
    } catch (error) {
      console.error(`section ${name}:`);
      throw error;
    }
    for (const redis of open) redis.disconnect();
    open.clear();
  }
  const { version } = require("ioredis/package.json");
  console.log(`${Object.keys(sections).length} sections with ioredis ${version}: ok`);
  process.exitCode = 0;
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
