//! One process that opens a store as the instance of a service does: `opener LOCATION`.
//!
//! It says what it does, as lines of JSON, and begins when it is told to by a line on its standard input. What the crates
//! log goes there too. With `--halt SIDE CALL N` it stands still before or after the Nth call of the migration engine of
//! that name until it is told to go on; with `--patience MILLISECONDS` it does not wait as long for others as usual.
#![expect(clippy::print_stdout, reason = "it talks to the test through its standard output")]

mod halting;

use std::io::BufRead;
use std::process::ExitCode;
use std::time::Duration;

use punctual::core::inspect::Page;
use punctual::core::migrate::migrate;
use punctual::core::{Clock, Error};
use punctual::runtime::SystemClock;
use punctual_tests::crowd::Word;
use punctual_tests::place;
use punctual_tests::schema::Schema;
use tracing_subscriber::filter::LevelFilter;

use self::halting::{Halt, Halting};

const USAGE: &str = "usage: opener LOCATION [--halt before|after CALL N] [--patience MILLISECONDS]";

/// What it was asked to do.
struct Arguments {
    location: String,
    halt: Option<Halt>,
    patience: Option<Duration>,
}

impl Arguments {
    fn of(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut arguments = Self { location: words.next()?, halt: None, patience: None };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--halt" => arguments.halt = Some(Halt::of(&words.next()?, words.next()?, &words.next()?)?),
                "--patience" => {
                    arguments.patience = Some(Duration::from_millis(words.next()?.parse().ok()?));
                }
                _ => return None,
            }
        }
        Some(arguments)
    }
}

/// Says a word at once, whatever the output is.
fn say(word: &Word) {
    println!("{}", word.line());
}

/// Waits for a line. Without one whoever started this process is gone, and so is its purpose.
fn wait_for_a_line() {
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(1..) => {}
        Ok(0) | Err(_) => std::process::exit(1),
    }
}

async fn open(arguments: &Arguments) -> Result<(), Error> {
    let begun = SystemClock.boot();
    if arguments.halt.is_some() || arguments.patience.is_some() {
        let mut schema = Schema::at(&arguments.location).await?;
        let (conn, runner) = schema.runner(arguments.patience.unwrap_or(Duration::from_secs(60)));
        let mut conn = Halting::new(conn, arguments.halt.clone());
        let migrated = migrate(&mut conn, &runner, &mut |_| {}).await?.ready()?;
        say(&Word::Migrated { applied: migrated.applied });
    }
    let (store, _) = place::open(&arguments.location).await?;
    store.now().await?;
    store.inspect().triggers(Page::first(1)).await?;
    let took = SystemClock.boot().since(begun);
    say(&Word::Open { milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX) });
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(arguments) = Arguments::of(std::env::args().skip(1)) else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_ansi(false).without_time().init();
    say(&Word::Ready);
    wait_for_a_line();
    match open(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&Word::Refused { kind: format!("{:?}", error.kind()), message: error.to_string() });
            ExitCode::FAILURE
        }
    }
}
