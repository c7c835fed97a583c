"""redis-py, as a program uses it. The argument is the protocol's version, 2 or 3; the server is at
GOREDIS_PORT. Each test begins with empty databases; the first failure ends the run."""

import inspect
import os
import sys
import threading
import time
from contextlib import contextmanager

import redis

PROTOCOL = int(sys.argv[1])
PORT = int(os.environ["GOREDIS_PORT"])
DEADLINE_S = 20


def connect(**options):
    options = {"decode_responses": True, "protocol": PROTOCOL, "socket_timeout": DEADLINE_S, **options}
    return redis.Redis(host="127.0.0.1", port=PORT, **options)


def same(got, expected):
    assert got == expected, f"got {got!r}, not {expected!r}"


def pairs(reply):
    """Pairs, whichever of lists and tuples a protocol makes of them; one may come by itself."""
    if len(reply) == 2 and not isinstance(reply[0], (list, tuple)):
        return [tuple(reply)]
    return [tuple(pair) for pair in reply]


def entries(reply):
    """What XREAD brought: name to list of (id, fields). RESP2 has lists, RESP3 maps."""
    if isinstance(reply, dict):
        reply = [(name, lists[0] if lists and isinstance(lists[0], list) else lists)
                 for name, lists in reply.items()]
    return {name: [(entry[0], entry[1]) for entry in found] for name, found in reply}


@contextmanager
def fails(kind, text=""):
    try:
        yield
    except kind as error:
        assert text in str(error), f"{error} has no {text!r}"
        return
    raise AssertionError(f"no {kind.__name__}")


def wait_until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


class Aside(threading.Thread):
    """Calls something that waits, in a thread of its own."""

    def __init__(self, call):
        super().__init__(daemon=True)
        self.call = call
        self.start()

    def run(self):
        self.reply = self.call()

    def result(self):
        self.join(DEADLINE_S)
        assert not self.is_alive(), "it still waits"
        return self.reply


def wait_blocked(r, count):
    wait_until(lambda: r.info("clients")["blocked_clients"] == count)


# ---------------------------------------------------------------- data


def strings(r):
    same(r.set("k", "v"), True)
    same(r.get("k"), "v")
    same(r.get("missing"), None)
    same(r.set("k", "w", nx=True), None)
    same(r.set("k", "w", xx=True, get=True), "v")
    same(r.append("k", "ord"), 4)
    same(r.getrange("k", 1, -1), "ord")
    same(r.setrange("k", 0, "l"), 4)
    same(r.strlen("k"), 4)
    same(r.incr("n"), 1)
    same(r.incrby("n", 41), 42)
    same(r.decr("n"), 41)
    same(r.incrbyfloat("f", 1.5), 1.5)
    same(r.mset({"a": "1", "b": "2"}), True)
    same(r.mget("a", "b", "missing"), ["1", "2", None])
    same(r.getdel("a"), "1")
    same(r.exists("a", "b"), 1)
    same(r.lcs("k", "b"), "")
    with fails(redis.ResponseError, "not an integer"):
        r.incr("k")


def binary_values(r):
    raw = connect(decode_responses=False)
    value = bytes(range(256)) * 1000
    same(raw.set(b"\x00\xff\r\n", value), True)
    same(raw.get(b"\x00\xff\r\n"), value)


def expiry(r):
    r.set("k", "v", ex=100)
    assert 95 <= r.ttl("k") <= 100
    same(r.persist("k"), True)
    same(r.ttl("k"), -1)
    same(r.ttl("missing"), -2)
    same(r.expire("k", 100, nx=True), True)
    same(r.expire("k", 10, gt=True), False)
    assert r.expiretime("k") > time.time()
    same(r.getex("k", persist=True), "v")
    r.set("short", "v", px=30)
    wait_until(lambda: r.get("short") is None)
    wait_until(lambda: r.dbsize() == 1)


def hashes(r):
    same(r.hset("h", mapping={"a": "1", "b": "2"}), 2)
    same(r.hset("h", "c", "3"), 1)
    same(r.hgetall("h"), {"a": "1", "b": "2", "c": "3"})
    same(r.hmget("h", "a", "missing"), ["1", None])
    same(r.hincrby("h", "a", 5), 6)
    same(r.hincrbyfloat("h", "b", 0.5), 2.5)
    same(sorted(r.hkeys("h")), ["a", "b", "c"])
    same(r.hlen("h"), 3)
    same(r.hexists("h", "a"), True)
    same(r.hdel("h", "a", "b"), 2)
    same(r.hrandfield("h"), "c")
    same(r.hsetnx("h", "c", "9"), 0)
    with fails(redis.ResponseError, "WRONGTYPE"):
        r.get("h")


def lists(r):
    same(r.rpush("l", "a", "b", "c"), 3)
    same(r.lpush("l", "z"), 4)
    same(r.lrange("l", 0, -1), ["z", "a", "b", "c"])
    same(r.lpop("l"), "z")
    same(r.rpop("l", 2), ["c", "b"])
    same(r.linsert("l", "before", "a", "0"), 2)
    same(r.lindex("l", 0), "0")
    same(r.lset("l", 0, "1"), True)
    same(r.lpos("l", "a"), 1)
    same(r.lmove("l", "m", "LEFT", "RIGHT"), "1")
    same(r.lrem("l", 0, "a"), 1)
    same(r.exists("l"), 0)
    r.rpush("big", *range(10_000))
    same(r.llen("big"), 10_000)
    same(r.ltrim("big", 5000, -1), True)
    same(r.lindex("big", 0), "5000")
    key, popped = r.lmpop(2, "none", "big", direction="LEFT", count=2)
    same((key, popped), ("big", ["5000", "5001"]))


def sets(r):
    same(r.sadd("s", "a", "b", "c"), 3)
    same(r.sadd("t", "b", "c", "d"), 3)
    same(r.smembers("s"), {"a", "b", "c"})
    same(r.sismember("s", "a"), 1)
    same(r.smismember("s", ["a", "z"]), [1, 0])
    same(set(r.sinter("s", "t")), {"b", "c"})
    same(set(r.sunion("s", "t")), {"a", "b", "c", "d"})
    same(set(r.sdiff("s", "t")), {"a"})
    same(r.sinterstore("u", "s", "t"), 2)
    same(r.sintercard(2, ["s", "t"]), 2)
    same(r.smove("s", "t", "a"), True)
    same(r.srem("t", "a", "b"), 2)
    same(r.scard("t"), 2)
    assert r.spop("t") in {"c", "d"}
    assert r.srandmember("s") in {"b", "c"}


def sorted_sets(r):
    same(r.zadd("z", {"a": 1, "b": 2, "c": 3.5}), 3)
    same(r.zadd("z", {"a": 5}, gt=True, ch=True), 1)
    same(r.zscore("z", "c"), 3.5)
    same(r.zincrby("z", 2, "b"), 4.0)
    same(r.zrange("z", 0, -1), ["c", "b", "a"])
    same(pairs(r.zrange("z", 0, 0, withscores=True)), [("c", 3.5)])
    same(r.zrevrange("z", 0, 0), ["a"])
    same(r.zrangebyscore("z", 4, "+inf"), ["b", "a"])
    same(r.zrank("z", "a"), 2)
    same(r.zcount("z", "(3.5", 5), 2)
    same(r.zmscore("z", ["a", "missing"]), [5.0, None])
    r.zadd("y", {"a": 10, "x": 1})
    same(r.zunionstore("u", ["z", "y"]), 4)
    same(r.zscore("u", "a"), 15.0)
    same(r.zinter(["z", "y"]), ["a"])
    same(r.zdiff(["z", "y"]), ["c", "b"])
    same(pairs(r.zpopmin("z")), [("c", 3.5)])
    same(pairs(r.zpopmax("z")), [("a", 5.0)])
    same(r.zremrangebyscore("z", 0, 100), 1)
    r.zadd("lex", {letter: 0 for letter in "abcd"})
    same(r.zrangebylex("lex", "[b", "(d"), ["b", "c"])
    same(r.zlexcount("lex", "-", "+"), 4)


def streams(r):
    first = r.xadd("x", {"n": "1"})
    second = r.xadd("x", {"n": "2"})
    same(r.xlen("x"), 2)
    same(r.xrange("x"), [(first, {"n": "1"}), (second, {"n": "2"})])
    same(r.xrevrange("x", count=1), [(second, {"n": "2"})])
    same(entries(r.xread({"x": first})), {"x": [(second, {"n": "2"})]})
    same(r.xread({"x": second}) or None, None)
    same(r.xdel("x", first), 1)
    same(r.xinfo_stream("x")["length"], 1)
    for n in range(20):
        r.xadd("x", {"n": n}, maxlen=10, approximate=False)
    same(r.xlen("x"), 10)
    same(r.xtrim("x", maxlen=3, approximate=False), 7)
    with fails(redis.ResponseError, "equal or smaller"):
        r.xadd("x", {"n": "0"}, id="1-1")
    waits = Aside(lambda: connect().xread({"x": "$"}, block=DEADLINE_S * 1000))
    wait_blocked(r, 1)
    last = r.xadd("x", {"n": "last"})
    same(entries(waits.result()), {"x": [(last, {"n": "last"})]})


def consumer_groups(r):
    same(r.xgroup_create("x", "g", id="0", mkstream=True), True)
    with fails(redis.ResponseError, "BUSYGROUP"):
        r.xgroup_create("x", "g")
    ids = [r.xadd("x", {"n": n}) for n in range(4)]
    read = entries(r.xreadgroup("g", "alice", {"x": ">"}, count=3))
    same([entry for entry, _ in read["x"]], ids[:3])
    same(r.xpending("x", "g")["pending"], 3)
    same(r.xack("x", "g", ids[0]), 1)
    pending = r.xpending_range("x", "g", "-", "+", 10)
    same([(one["message_id"], one["consumer"]) for one in pending],
         [(ids[1], "alice"), (ids[2], "alice")])
    claimed = r.xclaim("x", "g", "bob", 0, [ids[1]])
    same([entry for entry, _ in claimed], [ids[1]])
    _, taken, deleted = r.xautoclaim("x", "g", "bob", 0, "0-0", justid=False)
    same(([entry for entry, _ in taken], deleted), (ids[1:3], []))
    group = r.xinfo_groups("x")[0]
    same((group["name"], group["consumers"], group["pending"], group["lag"]), ("g", 2, 2, 1))
    same({one["name"] for one in r.xinfo_consumers("x", "g")}, {"alice", "bob"})
    same(r.xgroup_delconsumer("x", "g", "bob"), 2)
    waits = Aside(lambda: connect().xreadgroup("g", "alice", {"x": ">"}, block=DEADLINE_S * 1000))
    same(entries(waits.result())["x"][0][0], ids[3])
    same(r.xgroup_destroy("x", "g"), 1)


def other_types(r):
    same(r.setbit("bits", 7, 1), 0)
    same(r.bitcount("bits"), 1)
    same(r.bitfield("bits").set("u8", 8, 255).get("u4", 8).execute(), [0, 15])
    same(r.bitop("not", "inverse", "bits"), 2)
    same(r.pfadd("hll", *range(100)), 1)
    assert 95 <= r.pfcount("hll") <= 105
    same(r.geoadd("g", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")), 2)
    assert abs(r.geodist("g", "Palermo", "Catania", unit="km") - 166.27) < 0.1
    same(r.geosearch("g", longitude=15, latitude=37, radius=100, unit="km"), ["Catania"])


def keys(r):
    r.mset({"a": "1", "b": "2"})
    same(r.rename("a", "c"), True)
    same(r.renamenx("b", "c"), False)
    same(r.copy("c", "d"), True)
    same(r.type("c"), "string")
    same(sorted(r.keys("*")), ["b", "c", "d"])
    assert r.randomkey() in {"b", "c", "d"}
    same(r.touch("b", "c", "missing"), 2)
    same(r.unlink("b", "c"), 2)
    same(r.object("encoding", "d"), "int")
    same(r.move("d", 5), True)
    same(connect(db=5).get("d"), "1")
    r.rpush("numbers", 3, 1, 2)
    same(r.sort("numbers", desc=True), ["3", "2", "1"])
    raw = connect(decode_responses=False)
    same(r.restore("copied", 0, raw.dump("numbers")), "OK")
    same(r.lrange("copied", 0, -1), ["3", "1", "2"])
    same(r.flushdb(), True)
    same(r.dbsize(), 0)


def scans(r):
    count = 3000
    with r.pipeline(transaction=False) as pipe:
        for n in range(count):
            pipe.set(f"key:{n}", n).hset("h", f"f{n}", n).sadd("s", n).zadd("z", {f"m{n}": n})
        pipe.execute()
    same(len(set(r.scan_iter(match="key:*", count=100))), count)
    same(set(r.scan_iter(_type="hash")), {"h"})
    same(len(dict(r.hscan_iter("h"))), count)
    same(len(set(r.sscan_iter("s"))), count)
    same(dict(r.zscan_iter("z"))["m7"], 7.0)


# ---------------------------------------------------------------- between clients


def pipelines(r):
    with r.pipeline(transaction=False) as pipe:
        replies = pipe.set("k", "1").incr("k").lpush("k", "x").get("k").execute(raise_on_error=False)
    same(replies[:2] + replies[3:], [True, 2, "2"])
    assert isinstance(replies[2], redis.ResponseError)
    with r.pipeline(transaction=False) as pipe:
        for n in range(10_000):
            pipe.incr("n")
        same(pipe.execute()[-1], 10_000)


def transactions(r):
    with r.pipeline() as pipe:
        same(pipe.set("k", "1").incr("k").get("k").execute(), [True, 2, "2"])
    with r.pipeline() as pipe:
        pipe.watch("k")
        value = int(pipe.get("k"))
        r.set("k", "100")
        pipe.multi()
        pipe.set("k", value + 1)
        with fails(redis.WatchError):
            pipe.execute()
    same(r.get("k"), "100")
    same(r.transaction(lambda pipe: (pipe.multi(), pipe.incr("k"))[0], "k"), [101])
    with r.pipeline() as pipe:
        pipe.set("k", "1").execute_command("NOSUCHCOMMAND")
        with fails(redis.ResponseError, "unknown command"):
            pipe.execute()
    same(r.get("k"), "101")
    others = [connect() for _ in range(4)]

    def count(client):
        for _ in range(50):
            client.transaction(
                lambda pipe: (pipe.get("sum"), pipe.multi(), pipe.incr("sum")), "sum")

    threads = [Aside(lambda client=client: count(client)) for client in others]
    [thread.result() for thread in threads]
    same(r.get("sum"), "200")


def publish_and_subscribe(r):
    with r.pubsub() as listener:
        listener.subscribe("news")
        listener.psubscribe("w*")
        same([listener.get_message(timeout=DEADLINE_S)["type"] for _ in range(2)],
             ["subscribe", "psubscribe"])
        same(r.publish("news", "hello"), 1)
        same(r.publish("weather", "rain"), 1)
        same(r.publish("nobody", "?"), 0)
        got = [listener.get_message(timeout=DEADLINE_S) for _ in range(2)]
        same([(m["type"], m["pattern"], m["channel"], m["data"]) for m in got],
             [("message", None, "news", "hello"), ("pmessage", "w*", "weather", "rain")])
        same(r.pubsub_channels(), ["news"])
        same(pairs(r.pubsub_numsub("news", "nobody")), [("news", 1), ("nobody", 0)])
        same(r.pubsub_numpat(), 1)
        listener.unsubscribe()
        listener.punsubscribe()
        same([listener.get_message(timeout=DEADLINE_S)["type"] for _ in range(2)],
             ["unsubscribe", "punsubscribe"])
    with r.pubsub() as listener:
        listener.ssubscribe("shard")
        same(listener.get_message(timeout=DEADLINE_S)["type"], "ssubscribe")
        same(r.spublish("shard", "m"), 1)
        same(listener.get_message(timeout=DEADLINE_S)["data"], "m")


def keyspace_events(r):
    r.config_set("notify-keyspace-events", "KEA")
    with r.pubsub() as listener:
        listener.psubscribe("__keyevent@0__:*")
        listener.get_message(timeout=DEADLINE_S)
        r.set("k", "v", px=20)
        events = [listener.get_message(timeout=DEADLINE_S) for _ in range(3)]
        same([(event["channel"].split(":")[1], event["data"]) for event in events],
             [("set", "k"), ("expire", "k"), ("expired", "k")])
    r.config_set("notify-keyspace-events", "")


def blocking(r):
    same(connect().blpop("none", timeout=0.05), None)
    first, second = (Aside(lambda: connect().blpop(["l", "m"], timeout=DEADLINE_S)) for _ in "ab")
    wait_blocked(r, 2)
    r.rpush("m", "1", "2")
    same({tuple(first.result()), tuple(second.result())}, {("m", "1"), ("m", "2")})
    waits = Aside(lambda: connect().bzpopmin("z", timeout=DEADLINE_S))
    wait_blocked(r, 1)
    r.zadd("z", {"a": 1})
    same(tuple(waits.result()), ("z", "a", 1.0))
    waits = Aside(lambda: connect().blmove("from", "to", DEADLINE_S))
    wait_blocked(r, 1)
    r.lpush("from", "x")
    same(waits.result(), "x")
    same(r.lrange("to", 0, -1), ["x"])


# ---------------------------------------------------------------- the server and its clients


def clients(r):
    same(r.ping(), True)
    same(r.echo("hello"), "hello")
    named = connect(client_name="worker", single_connection_client=True)
    named.ping()
    line = next(line for line in r.client_list() if line["name"] == "worker")
    same((line["db"], line["resp"], line["cmd"]), ("0", str(PROTOCOL), "ping"))
    same(named.client_getname(), "worker")
    same(named.client_info()["name"], "worker")
    same(r.client_kill_filter(_id=line["id"]), 1)
    wait_until(lambda: all(line["name"] != "worker" for line in r.client_list()))
    waits = Aside(lambda: connect(client_name="waiting").blpop("none", DEADLINE_S))
    wait_blocked(r, 1)
    waiting = next(line for line in r.client_list() if line["name"] == "waiting")
    same(r.client_unblock(int(waiting["id"])), 1)
    same(waits.result(), None)
    same(r.client_pause(DEADLINE_S * 1000, all=False), True)
    waits = Aside(lambda: connect().set("k", "v"))
    wait_blocked(r, 1)
    same(r.get("k"), None)
    same(r.client_unpause(), "OK")
    same(waits.result(), True)


def monitoring(r):
    with connect().monitor() as monitor:
        r.set("k", "a b")
        for command in monitor.listen():
            if command["command"].startswith("SET "):
                break
        same((command["command"], command["db"], command["client_address"]),
             ("SET k a b", 0, "127.0.0.1"))


def administration(r):
    same(r.config_set("maxmemory-samples", 7), True)
    same(r.config_get("maxmemory-samples"), {"maxmemory-samples": "7"})
    same(r.config_resetstat(), True)
    r.set("k", "v")
    info = r.info()
    assert info["connected_clients"] >= 1 and info["uptime_in_seconds"] >= 0
    same(info["db0"]["keys"], 1)
    same(r.info("commandstats")["cmdstat_set"]["calls"], 1)
    r.config_set("slowlog-log-slower-than", 0)
    r.get("k")
    same(r.slowlog_get(1)[0]["command"], b"GET k")
    same(r.slowlog_reset(), True)
    r.config_set("slowlog-log-slower-than", 10000)
    assert r.memory_usage("k") > 0
    assert r.memory_stats()["total.allocated"] > 0
    same(r.command_count() > 200, True)
    seconds, micros = r.time()
    assert abs(seconds - time.time()) < 60 and 0 <= micros < 1_000_000
    assert r.latency_reset() >= 0
    same(r.swapdb(0, 1), True)
    same(connect(db=1).get("k"), "v")
    assert r.lastsave() is not None


def access_control(r):
    same(r.acl_setuser("alice", enabled=True, passwords=["+secret"], keys=["app:*"],
                       channels=["news"], commands=["+get", "+set", "+publish", "+acl|whoami"]), True)
    alice = connect(username="alice", password="secret")
    same(alice.acl_whoami(), "alice")
    same(alice.set("app:k", "v"), True)
    with fails(redis.exceptions.NoPermissionError, "key"):
        alice.set("other", "v")
    with fails(redis.exceptions.NoPermissionError, "channel"):
        alice.publish("secrets", "m")
    with fails(redis.exceptions.NoPermissionError, "flushall"):
        alice.flushall()
    with fails(redis.AuthenticationError):
        connect(username="alice", password="wrong").ping()
    same(sorted(r.acl_users()), ["alice", "default"])
    assert "on" in r.acl_getuser("alice")["flags"]
    assert "string" in r.acl_cat() and "get" in r.acl_cat("string")
    same({entry["reason"] for entry in r.acl_log()}, {"key", "channel", "command", "auth"})
    same(r.acl_dryrun("alice", "get", "app:k"), "OK")
    same(r.acl_deluser("alice"), 1)
    same(r.acl_log_reset(), True)


def tracking(r):
    """Client-side caching: a second connection, in RESP2, hears what is no longer true."""
    reader, channel = connect(single_connection_client=True), connect(protocol=2).pubsub()
    channel.subscribe("__redis__:invalidate")
    channel.get_message(timeout=DEADLINE_S)
    listener = next(line for line in r.client_list() if line["sub"] == "1")
    reader.client_tracking_on(clientid=int(listener["id"]))
    r.set("k", "1")
    same(reader.get("k"), "1")
    r.set("k", "2")
    message = channel.get_message(timeout=DEADLINE_S)
    same(message["data"], ["k"])
    reader.client_tracking_off()
    channel.close()


TESTS = [value for value in list(globals().values())
         if inspect.isfunction(value) and list(inspect.signature(value).parameters) == ["r"]]

for test in TESTS:
    with connect() as r:
        r.flushall()
        test(r)
print(f"{len(TESTS)} sections with redis-py {redis.__version__}, RESP{PROTOCOL}: ok")
