//! `highwater token`: a token, and the hashes of it that the pipeline file has.
//!
//! The standard output goes into the file as it is: the token itself is never in it.

use std::io::{BufRead, IsTerminal};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serving::postgres;

use crate::{cli, output::say};

/// Random bytes of a token.
const BYTES: usize = 32;

/// The shortest token that is taken: its plain hash must not be guessed.
const CHARACTERS_MIN: usize = 20;

/// The longest name.
const NAME_MAX: usize = 64;

/// What a token is called.
#[derive(Debug, Clone)]
pub(crate) struct Name(String);

impl std::str::FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // These need no quotes as a key of the file.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let is_one = (1..=NAME_MAX).contains(&text.len()) && text.chars().all(plain);
        is_one
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| format!("a name has 1 to {NAME_MAX} of a-z, A-Z, 0-9, _ and -"))
    }
}

/// What a token is for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    /// Asking: queries, SQL, live push, status.
    Read,
    /// Sending events.
    Write,
    /// All of it, and metrics.
    Admin,
}

pub(crate) fn token(options: &cli::Token) -> anyhow::Result<()> {
    let cli::Token { name: Name(name), role, views, stdin } = options;
    let token = if *stdin { given()? } else { hex::encode(postgres::random::<BYTES>()?) };
    let (sha256, scram) = (hex::encode(serving::sha256(&token)), postgres::verifier(&token)?);
    if !stdin {
        eprintln!("The token, which is kept nowhere else:\n\n{token}\n");
    }
    eprintln!(
        "It is sent as `Authorization: Bearer …`, by commands from HIGHWATER_TOKEN, and is the password of user `{name}`\n\
         where Postgres' protocol is spoken. The pipeline file takes what is on standard output:"
    );
    let role = role.to_possible_value().context("every role has a name")?;
    say!(
        "\n[serving.tokens.{name}]\nsha256 = \"{sha256}\"\nscram_sha_256 = \"{scram}\"\nrole = \"{}\"",
        role.get_name()
    )?;
    if !views.is_empty() {
        let views: Vec<String> = views.iter().map(|view| format!("\"{view}\"")).collect();
        say!("views = [{}]", views.join(", "))?;
    }
    Ok(())
}

/// The token that stands on standard input.
fn given() -> anyhow::Result<String> {
    let mut input = std::io::stdin().lock();
    if input.is_terminal() {
        eprintln!("The token, and Enter:");
    }
    let mut line = String::new();
    input.read_line(&mut line).context("cannot read standard input")?;
    let token = line.trim();
    ensure!(!token.is_empty(), "there is no token on standard input");
    ensure!(token.is_ascii(), "a token has ASCII characters only: others cannot be sent in a header");
    ensure!(
        token.len() >= CHARACTERS_MIN,
        "a token has at least {CHARACTERS_MIN} characters: people can guess shorter ones"
    );
    Ok(token.to_owned())
}
