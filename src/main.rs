//! Arguments, configuration, server, run.

use goredis::base::clock::Clock;
use goredis::commands::FAMILIES;
use goredis::net::listener::Listener;
use goredis::server::Instance;
use goredis::server::command::CommandTable;
use goredis::server::config::Config;
use goredis::server::tick::EventLoop;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut args = std::env::args().skip_while(|a| a != "--port").skip(1);
    let port: u16 = args.next().unwrap().parse().unwrap();
    let instance = Instance::new(Config::default(), CommandTable::new(FAMILIES), Clock::system());
    let mut eventloop = EventLoop::new(instance).unwrap();
    eventloop.listen(Listener::tcp("127.0.0.1", port, 511).unwrap()).unwrap();
    eventloop.run().unwrap();
}
