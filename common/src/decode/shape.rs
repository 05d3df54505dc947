//! The schema's paths as a tree: which members and elements of a record are columns, or lead to some.

use hashbrown::HashMap;

use crate::schema::{Column, Step};

/// What stands at a name or an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The column of this number.
    Column(usize),
    /// An object or an array with columns in it: the node of this number.
    Node(usize),
}

/// One object or array that has columns in it.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Its members, if it is an object.
    pub(super) names: HashMap<Vec<u8>, Target>,
    /// Its elements, if it is an array.
    pub(super) elements: Vec<(usize, Target)>,
    /// The columns that lie anywhere in it.
    pub(super) columns: Vec<usize>,
}

impl Node {
    /// What stands at `index`.
    pub(super) fn element(&self, index: usize) -> Option<Target> {
        self.elements.iter().find(|(at, _)| *at == index).map(|(_, target)| *target)
    }

    fn get(&self, step: &Step) -> Option<Target> {
        match step {
            Step::Name(name) => self.names.get(name.as_bytes()).copied(),
            Step::Index(index) => self.element(*index),
        }
    }

    fn insert(&mut self, step: &Step, target: Target) {
        match step {
            Step::Name(name) => drop(self.names.insert(name.as_bytes().to_vec(), target)),
            Step::Index(index) => self.elements.push((*index, target)),
        }
    }
}

/// The tree; its first node is the record.
pub(super) fn tree(columns: &[Column]) -> Vec<Node> {
    let mut nodes = vec![Node::default()];
    for (number, column) in columns.iter().enumerate() {
        let (last, inner) = column.path.steps().split_last().expect("a path has a step");
        let mut at = 0;
        for step in inner {
            nodes[at].columns.push(number);
            at = match nodes[at].get(step) {
                Some(Target::Node(node)) => node,
                Some(Target::Column(_)) => {
                    unreachable!("no column lies in another: the pipeline file has checked that")
                }
                None => {
                    nodes.push(Node::default());
                    let node = nodes.len() - 1;
                    nodes[at].insert(step, Target::Node(node));
                    node
                }
            };
        }
        nodes[at].columns.push(number);
        nodes[at].insert(last, Target::Column(number));
    }
    nodes
}
