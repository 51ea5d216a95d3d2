//! The command line, the same for the stock program and for one's own.

mod redis;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::app::App;
use crate::bench::{self, BenchArgs};
use crate::config::{Config, Inputs, Override};
use crate::serve::{Node, Signals};
use crate::telemetry;

/// Persistent entities over HTTP: state machines that remember.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Without a command, `dev` runs.\n\n\
                  First steps:\n  \
                  abide dev\n  \
                  curl -s http://127.0.0.1:8080/v1/entities/counter/visits \\\n       \
                  -H 'content-type: application/json' -d '{\"type\":\"increment\",\"by\":1}'\n  \
                  curl -s http://127.0.0.1:8080/v1/entities/counter/visits"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one node for trying out: embedded journal, nothing to install.
    #[command(
        after_help = "Stop it with Ctrl-C. The data stays in ./abide-data; delete the folder to start over."
    )]
    Dev(RunArgs),
    /// Run a node for production, configured by a file.
    #[command(
        after_help = "SIGTERM stops it in order: no new connections, running requests finish, writes are synced, \
                      exit code 0."
    )]
    Serve(RunArgs),
    /// Print the effective configuration and where each value came from.
    Config(ConfigArgs),
    /// Put load on a running node and measure it.
    Bench(BenchArgs),
    /// Look at the Redis servers of the configuration.
    #[command(subcommand)]
    Redis(RedisCommand),
}

#[derive(Debug, Subcommand)]
enum RedisCommand {
    /// Tell what is unsafe about the servers as they are set up. Ends with 1 if a node would not start on them.
    Check(ConfigArgs),
    /// Print the access rule for a user who may do what Abide needs and nothing else.
    Acl(ConfigArgs),
}

/// Where the configuration comes from. Later ones win: defaults, file, environment, flags.
#[derive(Clone, Debug, Default, Args)]
struct ConfigArgs {
    /// Configuration file (TOML).
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, such as --set sharding.passivate_after=5m. May be repeated. Every key can also come
    /// from the environment, as ABIDE__SHARDING__PASSIVATE_AFTER=5m.
    #[arg(short, long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<Override>,
}

#[derive(Clone, Debug, Default, Args)]
struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Address for clients; port 0 takes a free one. The same as --set http.listen=…
    #[arg(short, long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Directory for all data. The same as --set node.data_dir=…
    #[arg(short, long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// Write the ports that are really bound to this file, as JSON, once the node serves there.
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
}

/// Runs a program: parses the command line, and serves the entity types that the closure adds.
///
/// Ends with 0 after an orderly shutdown, with 2 if the command line or the configuration is at fault, with
/// 1 otherwise.
pub fn main(register: impl FnOnce(App) -> App) -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => run(register(App::default()), &cli.run, Mode::Dev),
        Some(Command::Dev(args)) => run(register(App::default()), &args, Mode::Dev),
        Some(Command::Serve(args)) => run(register(App::default()), &args, Mode::Serve),
        Some(Command::Config(args)) => with_config(&register(App::default()), &args, print_config),
        Some(Command::Bench(args)) => bench(args),
        Some(Command::Redis(RedisCommand::Check(args))) => {
            with_config(&register(App::default()), &args, redis::check)
        }
        Some(Command::Redis(RedisCommand::Acl(args))) => {
            with_config(&register(App::default()), &args, |config| Ok(redis::print_acl(config)))
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("abide: {error:#}");
        ExitCode::FAILURE
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Dev,
    Serve,
}

/// Loads the configuration, or says everything that is wrong with it.
fn load(app: &App, args: &ConfigArgs, flags: Vec<Override>) -> Result<Config, ExitCode> {
    let inputs = Inputs {
        file: args.config.clone(),
        environment: std::env::vars_os().collect(),
        flags: args.set.iter().cloned().chain(flags).collect(),
        stores: app.store_names(),
    };
    Config::load(&inputs).map(|config| app.settle(&config)).map_err(|faults| {
        eprintln!("abide: {faults}");
        ExitCode::from(2)
    })
}

fn run(app: App, args: &RunArgs, mode: Mode) -> anyhow::Result<ExitCode> {
    let listen = args.listen.as_ref().map(|value| Override::new("http.listen", value, "--listen"));
    let data_dir = args.data_dir.as_ref();
    let data_dir = data_dir.map(|value| Override::new("node.data_dir", value.display(), "--data-dir"));
    let config = match load(&app, &args.config, listen.into_iter().chain(data_dir).collect()) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    telemetry::start_logs(config.log.level, config.log.format);
    let runtime = tokio::runtime::Runtime::new().context("the runtime did not start")?;
    runtime.block_on(async {
        // Signals from here on find somebody who listens.
        let mut signals = Signals::listen()?;
        let starting = Node::bind(app, &config).await?;
        let asked_to_stop = async {
            let signal = signals.next().await;
            tracing::info!(signal, "the node was asked to end before it served");
        };
        let Some(node) = starting.serve_unless(asked_to_stop).await? else {
            return Ok(ExitCode::SUCCESS);
        };
        if let Some(path) = &args.ports_file {
            node.write_ports(path)?;
        }
        if mode == Mode::Dev {
            welcome(&node, &config);
        }
        let failed = tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal, "shutting down; a second signal ends at once");
                None
            }
            reason = node.failed() => {
                tracing::error!(%reason, "the node cannot go on");
                Some(reason)
            }
        };
        let orderly = tokio::select! {
            orderly = node.shutdown() => orderly,
            _ = signals.next() => false,
        };
        match (orderly, failed) {
            (_, Some(reason)) => anyhow::bail!(reason),
            (false, None) => {
                anyhow::bail!("the shutdown was not an orderly one; nothing acknowledged is lost")
            }
            (true, None) => {
                tracing::info!("the node has ended in order");
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}

fn welcome(node: &Node, config: &Config) {
    let http = node.http();
    let types: Vec<_> = node.region().entity_types().map(|entity_type| entity_type.as_str()).collect();
    println!("\n  Abide serves {} at http://{http}", types.join(", "));
    println!("  Data: {}   Process: {}   Stop: Ctrl-C\n", config.node.data_dir.display(), std::process::id());
    if types.contains(&"counter") {
        println!("  Try, in another terminal:\n");
        println!("    curl -s http://{http}/v1/entities/counter/visits \\");
        println!("         -H 'content-type: application/json' -d '{{\"type\":\"increment\",\"by\":1}}'");
        println!("    curl -s http://{http}/v1/entities/counter/visits\n");
    }
}

fn print_config(config: &Config) -> anyhow::Result<ExitCode> {
    print!("{}", config.to_toml());
    Ok(ExitCode::SUCCESS)
}

/// Does something with the configuration, once it is without fault.
fn with_config(
    app: &App,
    args: &ConfigArgs,
    work: impl FnOnce(&Config) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    match load(app, args, Vec::new()) {
        Ok(config) => work(&config),
        Err(code) => Ok(code),
    }
}

fn bench(args: BenchArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("the runtime did not start")?;
    runtime.block_on(bench::execute(args))
}
