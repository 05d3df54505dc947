//! `highwater`: the one program. It reads the command line, and puts the layers together.

mod bench;
mod check;
mod cli;
mod client;
mod dead_letters;
mod demo;
mod house;
mod inspect;
mod job;
mod keep;
mod logging;
mod output;
mod query;
mod replay;
mod run;
mod schedule;
mod shutdown;
mod swap;
mod token;
mod traces;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use tikv_jemallocator::Jemalloc;

// Partials and batches are many short-lived allocations of all sizes, on all threads. It is also what librdkafka allocates by, whose
// every record is taken by one thread and given back by another.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(code) => code,
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            job::exit::of_error(&error)
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let traces = logging::start(cli.log_format, default_filter(&cli.command), runtime.handle())?;
    let ended = runtime.block_on(command(cli));
    traces.finish();
    ended
}

/// Commands that run for long say what they do; the others only what went wrong.
fn default_filter(command: &Command) -> &'static str {
    match command {
        Command::Run | Command::Speed | Command::Serve | Command::Batch(job::Command::Run) => "info",
        _ => "warn",
    }
}

async fn command(cli: Cli) -> anyhow::Result<ExitCode> {
    let path = cli.pipeline.as_path();
    match cli.command {
        Command::Check => check::check(path)?,
        Command::Run => run::run(check::load(path)?, run::Roles::ALL, shutdown::token()?).await?,
        Command::Speed => run::run(check::load(path)?, run::Roles::SPEED, shutdown::token()?).await?,
        Command::Serve => run::run(check::load(path)?, run::Roles::SERVE, shutdown::token()?).await?,
        Command::Batch(command) => return job::command(path, command, shutdown::token()?).await,
        Command::Erase(options) => keep::erase(path, options, shutdown::token()?).await?,
        Command::Export(options) => keep::export(path, options, shutdown::token()?).await?,
        Command::Load(options) => keep::load(path, options, shutdown::token()?).await?,
        Command::Views(options) => job::views::views(path, options).await?,
        Command::Query(query) => query::query(path, query).await?,
        Command::Replay(options) => replay::replay(path, options, shutdown::token()?).await?,
        Command::Bench(cli::Bench::Produce(options)) => bench::produce(path, options, shutdown::token()?).await?,
        Command::Inspect(options) => inspect::inspect(path, options).await?,
        Command::Token(options) => token::token(&options)?,
        Command::DeadLetters(options) => dead_letters::dead_letters(path, options).await?,
        Command::Demo(options) => return demo::demo(options, shutdown::token()?).await,
    }
    Ok(ExitCode::SUCCESS)
}
