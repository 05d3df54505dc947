//! A record as one raw value per column: the general path, which takes every record and says of each what it is.

use std::sync::Arc;

use super::{
    scan::{Kind, Raw, Scanner, SyntaxError, unescape},
    shape::{Node, Target},
};

/// Reads records. Names that lead to no column are passed over; of a name that repeats the last value counts, as in
/// serde_json.
#[derive(Debug)]
pub(super) struct ObjectReader {
    nodes: Arc<[Node]>,
    values: Vec<Option<Raw>>,
    unescaped: Vec<u8>,
}

impl ObjectReader {
    /// A reader of records with this tree of columns.
    pub(super) fn new(nodes: Arc<[Node]>) -> Self {
        let values = vec![None; nodes[0].columns.len()];
        Self { nodes, values, unescaped: Vec::new() }
    }

    /// The value of each column in `text`, which must be one JSON object and nothing else; `None` where there is none.
    ///
    /// # Errors
    /// Where `text` stops being that.
    pub(super) fn read(&mut self, text: &str) -> Result<&[Option<Raw>], SyntaxError> {
        self.values.fill(None);
        let mut scanner = Scanner::new(text.as_bytes());
        scanner.open()?;
        self.object(&mut scanner, 0, 1)?;
        scanner.end()?;
        Ok(&self.values)
    }

    /// The members of an object with `depth` open, itself among them.
    fn object(&mut self, scanner: &mut Scanner<'_>, node: usize, depth: u32) -> Result<(), SyntaxError> {
        let mut more = scanner.first_member()?;
        while more {
            let name = scanner.name()?;
            let target = self.target(node, name.bytes(scanner.text()), name.kind);
            self.value(scanner, target, depth)?;
            more = scanner.next_member()?;
        }
        Ok(())
    }

    fn array(&mut self, scanner: &mut Scanner<'_>, node: usize, depth: u32) -> Result<(), SyntaxError> {
        let (mut more, mut index) = (scanner.first_element()?, 0);
        while more {
            let target = self.nodes[node].element(index);
            self.value(scanner, target, depth)?;
            more = scanner.next_element()?;
            index += 1;
        }
        Ok(())
    }

    fn target(&mut self, node: usize, name: &[u8], kind: Kind) -> Option<Target> {
        let names = &self.nodes[node].names;
        if kind != Kind::EscapedString {
            return names.get(name).copied();
        }
        self.unescaped.clear();
        unescape(name, &mut self.unescaped);
        names.get(&self.unescaped).copied()
    }

    /// A value that `depth` arrays or objects are open around.
    fn value(&mut self, scanner: &mut Scanner<'_>, target: Option<Target>, depth: u32) -> Result<(), SyntaxError> {
        match target {
            None => scanner.value(depth).map(drop),
            Some(Target::Column(column)) => {
                self.values[column] = Some(scanner.value(depth)?);
                Ok(())
            }
            Some(Target::Node(node)) => {
                // What an earlier value of this name has left counts no more.
                for &column in &self.nodes[node].columns {
                    self.values[column] = None;
                }
                match scanner.peek() {
                    Some(b'{') if !self.nodes[node].names.is_empty() => {
                        scanner.enter();
                        self.object(scanner, node, depth + 1)
                    }
                    Some(b'[') if !self.nodes[node].elements.is_empty() => {
                        scanner.enter();
                        self.array(scanner, node, depth + 1)
                    }
                    // Not what the paths lead through: they lead nowhere.
                    _ => scanner.value(depth).map(drop),
                }
            }
        }
    }
}
