//! What clients send, taken apart: the statements of a text, and what each of them is for.

use sqlparser::{
    ast::Query,
    dialect::PostgreSqlDialect,
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace},
};

use super::fault::Fault;
use crate::sql::DEPTH_MAX;

/// A statement.
#[derive(Debug, Clone)]
pub(super) enum Statement {
    /// Asks rows.
    Query(Box<Query>),
    /// `SHOW`; all settings if `None`.
    Show(Option<String>),
    /// `SET`, and what it sets; a setting is as it was at first if `None`.
    Set(String, Option<String>),
    /// Begins a transaction, which is of nothing: all answers are of their own moment.
    Begin,
    Commit,
    Rollback,
    /// `ROLLBACK TO` a savepoint.
    RollbackTo,
    /// Forgets prepared statements: the one named, or all.
    Deallocate(Option<String>),
    /// Forgets all that the session set and prepared.
    DiscardAll,
    /// Means nothing here, and is answered by its name.
    Idle(&'static str),
}

/// The statements of `sql`, in order.
pub(super) fn statements(sql: &str) -> Result<Vec<Statement>, Fault> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location();
    let tokens = tokens.map_err(|error| Fault::placed("42601", &error.to_string()))?;
    let parts = tokens.split(|token| token.token == Token::SemiColon);
    let parts = parts.filter(|part| part.iter().any(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)));
    parts.map(statement).collect()
}

fn statement(tokens: &[TokenWithSpan]) -> Result<Statement, Fault> {
    let words: Vec<&TokenWithSpan> =
        tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)).collect();
    let word = |at: usize| match words.get(at).map(|token| &token.token) {
        Some(Token::Word(word)) => word.value.to_uppercase(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let first = word(0);
    match first.as_str() {
        "SELECT" | "WITH" | "VALUES" | "TABLE" | "(" => query(tokens),
        "SHOW" => show(&words),
        "SET" => set(&words),
        "RESET" => match word(1).as_str() {
            "ALL" => Ok(Statement::Idle("RESET")),
            name => Ok(Statement::Set(name.to_lowercase(), None)),
        },
        "BEGIN" | "START" => match words.iter().any(|word| is(word, "WRITE")) {
            true => Err(Fault::read_only("a transaction that writes")),
            false => Ok(Statement::Begin),
        },
        "COMMIT" | "END" => Ok(Statement::Commit),
        "ROLLBACK" if words.iter().any(|word| is(word, "TO")) => Ok(Statement::RollbackTo),
        "ROLLBACK" | "ABORT" => Ok(Statement::Rollback),
        "SAVEPOINT" => Ok(Statement::Idle("SAVEPOINT")),
        "RELEASE" => Ok(Statement::Idle("RELEASE")),
        "DEALLOCATE" => {
            let name = words.iter().skip(1).find(|word| !is(word, "PREPARE")).map(|token| unquoted(&token.token));
            Ok(Statement::Deallocate(name.filter(|name| !name.eq_ignore_ascii_case("all"))))
        }
        "DISCARD" => Ok(if word(1) == "ALL" { Statement::DiscardAll } else { Statement::Idle("DISCARD") }),
        "CLOSE" => Ok(Statement::Idle("CLOSE CURSOR")),
        "LISTEN" => Ok(Statement::Idle("LISTEN")),
        "UNLISTEN" => Ok(Statement::Idle("UNLISTEN")),
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "CREATE" | "DROP" | "ALTER" | "TRUNCATE" | "COPY" | "GRANT"
        | "REVOKE" | "COMMENT" | "REINDEX" | "CLUSTER" | "VACUUM" | "ANALYZE" | "REFRESH" | "LOCK" | "NOTIFY"
        | "IMPORT" | "SECURITY" | "REASSIGN" | "CALL" | "DO" => Err(Fault::read_only(&first).at(words[0].span.start)),
        "EXPLAIN" | "DECLARE" | "FETCH" | "MOVE" | "PREPARE" | "EXECUTE" | "CHECKPOINT" | "LOAD" => {
            Err(Fault::unsupported(&first).at(words[0].span.start))
        }
        _ => {
            Err(Fault::new("42601", format!("syntax error at or near \"{}\"", words[0].token)).at(words[0].span.start))
        }
    }
}

fn query(tokens: &[TokenWithSpan]) -> Result<Statement, Fault> {
    let wrong = |error: sqlparser::parser::ParserError| Fault::placed("42601", &error.to_string());
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(DEPTH_MAX)
        .with_tokens_with_locations(without_operator_schemas(tokens));
    let query = parser.parse_query().map_err(wrong)?;
    let after = parser.peek_token();
    match after.token {
        Token::EOF => Ok(Statement::Query(query)),
        other => Err(Fault::new("42601", format!("syntax error at or near \"{other}\"")).at(after.span.start)),
    }
}

/// `COLLATE pg_catalog.default`, which psql adds to patterns, means nothing here, and `default` is no name to the parser.
fn without_operator_schemas(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).peekable();
    while let Some(token) = rest.next() {
        let collates = matches!(&token.token, Token::Word(word) if word.keyword == Keyword::COLLATE);
        if !collates {
            kept.push(token.clone());
            continue;
        }
        rest.next();
        while rest.next_if(|token| token.token == Token::Period).is_some() {
            rest.next();
        }
    }
    kept
}

fn is(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(found) if found.value.eq_ignore_ascii_case(word))
}

/// What the token says: a name as Postgres folds it, a text without its quotes.
fn unquoted(token: &Token) -> String {
    match token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
        Token::Word(word) => word.value.clone(),
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.clone(),
        Token::Whitespace(Whitespace::Space) => String::new(),
        other => other.to_string(),
    }
}

fn joined(tokens: &[&TokenWithSpan]) -> String {
    tokens.iter().map(|token| unquoted(&token.token)).collect()
}

fn show(words: &[&TokenWithSpan]) -> Result<Statement, Fault> {
    let names: Vec<String> = words.iter().skip(1).map(|token| unquoted(&token.token)).collect();
    let name = match names.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["all"] => return Ok(Statement::Show(None)),
        ["transaction", "isolation", "level"] => "transaction_isolation".to_owned(),
        ["time", "zone"] => "timezone".to_owned(),
        ["session", "authorization"] => "session_authorization".to_owned(),
        [] => return Err(Fault::new("42601", "SHOW names a setting")),
        _ => names.concat(),
    };
    Ok(Statement::Show(Some(name)))
}

fn set(words: &[&TokenWithSpan]) -> Result<Statement, Fault> {
    let mut rest = &words[1..];
    while rest.first().is_some_and(|word| is(word, "SESSION") || is(word, "LOCAL"))
        && !rest.get(1).is_some_and(|word| is(word, "AUTHORIZATION"))
    {
        rest = &rest[1..];
    }
    let first = rest.first().map(|token| unquoted(&token.token)).unwrap_or_default();
    match first.as_str() {
        "characteristics" | "transaction" => match rest.iter().any(|word| is(word, "WRITE")) {
            true => Err(Fault::read_only("a transaction that writes")),
            false => Ok(Statement::Idle("SET")),
        },
        "constraints" | "session" | "role" => Ok(Statement::Idle("SET")),
        "time" => Ok(valued("timezone", &rest[2.min(rest.len())..])),
        "names" => Ok(valued("client_encoding", &rest[1..])),
        _ => {
            let at = rest.iter().position(|token| token.token == Token::Eq || is(token, "TO"));
            let at = at.ok_or_else(|| Fault::new("42601", "SET needs a value: SET name = value"))?;
            Ok(valued(&joined(&rest[..at]), &rest[at + 1..]))
        }
    }
}

fn valued(name: &str, value: &[&TokenWithSpan]) -> Statement {
    let value = joined(value);
    let usual = value.is_empty() || value.eq_ignore_ascii_case("default") || value.eq_ignore_ascii_case("local");
    Statement::Set(name.to_owned(), (!usual).then_some(value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart() {
        let said = |sql: &str| format!("{:?}", statements(sql).unwrap());
        assert_eq!(said("BEGIN; ;COMMIT;"), "[Begin, Commit]");
        assert_eq!(said("SHOW transaction isolation level"), "[Show(Some(\"transaction_isolation\"))]");
        assert_eq!(said("SET extra_float_digits = 3"), "[Set(\"extra_float_digits\", Some(\"3\"))]");
        assert_eq!(said("set time zone 'Europe/Paris'"), "[Set(\"timezone\", Some(\"Europe/Paris\"))]");
        assert_eq!(said("SET SESSION x TO DEFAULT"), "[Set(\"x\", None)]");
        assert_eq!(said("DEALLOCATE ALL; deallocate \"_pg3_0\""), "[Deallocate(None), Deallocate(Some(\"_pg3_0\"))]");
        assert_eq!(said("rollback to savepoint a"), "[RollbackTo]");
        assert_eq!(statements("-- nothing\n ;").unwrap().len(), 0);
    }

    #[test]
    fn what_is_not_a_query_says_why() {
        for (sql, code) in [
            ("INSERT INTO x VALUES (1)", "25006"),
            ("begin read write", "25006"),
            ("SELEC 1", "42601"),
            ("SELECT 1 FROM", "42601"),
            ("SELECT 1 1", "42601"),
            ("DECLARE c CURSOR FOR SELECT 1", "0A000"),
            ("SELECT 'x", "42601"),
        ] {
            assert_eq!(statements(sql).unwrap_err().code, code, "{sql}");
        }
    }
}
