//! Every command line in the examples and the documents is one that can be asked for.

use std::{fs, path::Path};

use super::*;

/// The words of the commands in a line of shell, as far as our examples need it: quotes, comments, what joins commands.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), String::new());
    let (mut quote, mut begun) = (None, false);
    for letter in line.chars() {
        match (letter, quote) {
            (end, Some(start)) if end == start => quote = None,
            (letter, Some(_)) => word.push(letter),
            ('\'' | '"', None) => (quote, begun) = (Some(letter), true),
            ('#', None) if !begun => break,
            (';' | '&' | '|' | '(' | ')' | '`', None) => {
                words.push(std::mem::take(&mut word));
                commands.push(std::mem::take(&mut words));
                begun = false;
            }
            (' ', None) => {
                words.push(std::mem::take(&mut word));
                begun = false;
            }
            (letter, None) => {
                word.push(letter);
                begun = true;
            }
        }
    }
    words.push(word);
    commands.push(words);
    commands.into_iter().map(|words| words.into_iter().filter(|word| !word.is_empty()).collect()).collect()
}

/// What `highwater` is asked in a command, if it is asked anything.
fn asked(command: &[String]) -> Option<Vec<String>> {
    // In a crontab, who it runs as and what it is started by stand before.
    let at = command.iter().rposition(|word| word.rsplit('/').next() == Some("highwater"))?;
    let arguments = command[at + 1..].iter().take_while(|word| !word.contains('>') && !word.contains('<'));
    let arguments: Vec<String> = arguments.filter(|word| *word != "$@").cloned().collect();
    (!arguments.is_empty()).then_some(arguments)
}

/// The lines of shell in a file: of a document those in its fences, of YAML what containers are told.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("the file is there").replace("\\\n", " ").replace("$kind", "map");
    let extension = path.extension().and_then(|extension| extension.to_str());
    if extension == Some("yaml") {
        let told = |line: &str| {
            Some(line.trim().strip_prefix("args: [")?.strip_suffix(']')?.trim_matches(['"', '\'']).to_owned())
        };
        return text.lines().filter_map(told).collect();
    }
    let (mut in_shell, mut lines) = (extension != Some("md"), Vec::new());
    for line in text.lines().map(str::trim) {
        if line.starts_with("```") {
            in_shell = line == "```sh";
        } else if in_shell {
            lines.push(line.strip_prefix("ExecStart=").unwrap_or(line).replace("$(", "("));
        }
    }
    lines
}

#[test]
fn every_command_line_of_the_examples_and_documents_can_be_asked_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![root.join("README.md")];
    for folder in ["docs", "data", "deploy/cron", "deploy/systemd", "deploy/kubernetes", "deploy/grafana"] {
        let found = fs::read_dir(root.join(folder)).expect("the folder is there");
        files.extend(found.map(|entry| entry.expect("it can be listed").path()).filter(|path| path.is_file()));
    }
    let is_text = |path: &Path| !matches!(path.extension().and_then(|e| e.to_str()), Some("png" | "json" | "gz"));
    let mut tried = 0;
    for path in files.iter().filter(|path| is_text(path)) {
        for line in lines(path) {
            for arguments in commands(&line).iter().filter_map(|command| asked(command)) {
                let parsed = Cli::try_parse_from(std::iter::once("highwater".to_owned()).chain(arguments));
                if let Err(error) = parsed
                    && error.use_stderr()
                {
                    panic!("{}: `{line}`\n{error}", path.display());
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 50, "{tried} command lines");
}
