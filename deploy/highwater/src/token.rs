//! `highwater token`: a token, and the hashes of it that the pipeline file has.

use std::io::BufRead;

use anyhow::Context;
use serving::postgres;

use crate::{cli, output::say};

/// Random bytes of a token.
const BYTES: usize = 32;

/// The shortest token that is taken: its plain hash must not be guessed.
const CHARACTERS_MIN: usize = 20;

pub(crate) fn token(options: &cli::Token) -> anyhow::Result<()> {
    let token = if options.stdin { given()? } else { hex(&postgres::random::<BYTES>()?) };
    let (sha256, scram) = (hex(&serving::sha256(&token)), postgres::verifier(&token)?);
    let (name, role) = (&options.name, &options.role);
    say!("# The token, which is also the password where Postgres' protocol is spoken. It is kept nowhere else:")?;
    say!("# {token}")?;
    say!("[serving.tokens.{name}]\nsha256 = \"{sha256}\"\nscram_sha_256 = \"{scram}\"\nrole = \"{role}\"")?;
    Ok(())
}

fn given() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read standard input")?;
    let token = line.trim().to_owned();
    let long = token.chars().count() >= CHARACTERS_MIN;
    anyhow::ensure!(long, "a token has at least {CHARACTERS_MIN} characters: people can guess shorter ones");
    Ok(token)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
