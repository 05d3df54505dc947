//! How values of one writer schema are read into a source's columns: worked out once, before the first value.
//!
//! The columns are the reader's schema, and these are Avro's rules of schema resolution as far as they concern it: what the
//! writer has and no column asks for is passed over, what a column asks for and the writer lacks is null, int and long
//! become double, bytes become text. Of a union each branch is judged by itself: a value of one that does not fit is a dead
//! letter, and the schema is refused only if none fits.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    super::{
        misfit::Misfit,
        shape::{self, Node, Target},
    },
    schema::{Logical, Schema, Type, TypeId},
};
use crate::schema::{Column, ColumnType, TimestampFormat};

/// A step's number in its [`Plan`].
pub(super) type StepId = usize;

/// The steps of reading a value.
#[derive(Debug)]
pub(in super::super) struct Plan {
    steps: Vec<Step>,
    pub(super) root: StepId,
}

/// How one type is read, and into which columns.
#[derive(Debug)]
pub(super) enum Step {
    /// A value without parts.
    Leaf { leaf: Leaf, into: Box<[usize]> },
    /// The fields of a record, in order.
    Record(Box<[StepId]>),
    /// Some elements of an array by their index, the others by another step.
    Array { wanted: Box<[(usize, StepId)]>, others: StepId },
    /// Some values of a map by their key, the others by another step.
    Map { wanted: Box<[(Vec<u8>, StepId)]>, others: StepId },
    /// The branches.
    Union(Box<[StepId]>),
    /// What has parts where these columns want a value: no value of it fits.
    Composite { inner: StepId, into: Box<[usize]> },
}

#[derive(Debug, Clone)]
pub(super) enum Leaf {
    Null,
    Boolean,
    Int,
    Long,
    /// Microseconds in one unit, or units in one microsecond if negative.
    Instant {
        micros_per_unit: i64,
    },
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    /// A decimal in bytes, or in so many.
    Decimal {
        size: Option<usize>,
        scale: u32,
    },
    Uuid,
    Enum(Arc<[String]>),
}

impl Plan {
    /// The plan for `schema`. If `whole` is set, a schema that is no record is read whole into each of `columns`.
    ///
    /// # Errors
    /// The columns that it does not fit.
    pub(in super::super) fn new(schema: &Schema, columns: &[Column], whole: bool) -> Result<Self, Vec<Misfit>> {
        let nodes = shape::tree(columns);
        let placed = vec![false; columns.len()];
        let (steps, memo, misfits) = (Vec::new(), HashMap::new(), Vec::new());
        let mut planner = Planner { schema, columns, nodes, steps, memo, placed, misfits };
        let root = if whole && planner.is_whole(schema.root) {
            planner.values(schema.root, &(0..columns.len()).collect::<Vec<_>>())
        } else {
            planner.within(schema.root, Some(0))
        };
        for (column, _) in columns.iter().zip(&planner.placed).filter(|(column, placed)| !**placed && !column.nullable)
        {
            planner.misfits.push(Misfit::nothing(column));
        }
        if planner.misfits.is_empty() { Ok(Self { steps: planner.steps, root }) } else { Err(planner.misfits) }
    }

    pub(super) fn get(&self, step: StepId) -> &Step {
        &self.steps[step]
    }
}

struct Planner<'s> {
    schema: &'s Schema,
    columns: &'s [Column],
    nodes: Vec<Node>,
    steps: Vec<Step>,
    /// The steps of types that are passed over: types may contain themselves.
    memo: HashMap<TypeId, StepId>,
    /// Which columns have a place in the schema.
    placed: Vec<bool>,
    misfits: Vec<Misfit>,
}

impl Planner<'_> {
    fn push(&mut self, step: Step) -> StepId {
        self.steps.push(step);
        self.steps.len() - 1
    }

    /// Whether values of the type have no members.
    fn is_whole(&self, of: TypeId) -> bool {
        match self.schema.get(of) {
            Type::Record(..) | Type::Map(_) | Type::Array(_) => false,
            Type::Union(branches) => branches.iter().all(|&branch| self.is_whole(branch)),
            _ => true,
        }
    }

    fn target(&mut self, of: TypeId, target: Option<Target>) -> StepId {
        match target {
            Some(Target::Column(column)) => self.values(of, &[column]),
            Some(Target::Node(node)) => self.within(of, Some(node)),
            None => self.within(of, None),
        }
    }

    /// The type's values are read for the columns in `node`, or passed over.
    fn within(&mut self, of: TypeId, node: Option<usize>) -> StepId {
        if node.is_none() {
            if let Some(&step) = self.memo.get(&of) {
                return step;
            }
            // Known before what is within, which may be the type itself.
            let step = self.push(Step::Record(Box::default()));
            self.memo.insert(of, step);
            let made = self.parts(of, None);
            self.steps.swap(step, made);
            return step;
        }
        self.parts(of, node)
    }

    fn parts(&mut self, of: TypeId, node: Option<usize>) -> StepId {
        let schema = self.schema;
        match schema.get(of) {
            Type::Record(_, fields) => {
                let step = |(name, of): &(String, TypeId)| {
                    let target = node.and_then(|node| self.nodes[node].names.get(name.as_bytes()).copied());
                    self.target(*of, target)
                };
                let steps = fields.iter().map(step).collect();
                self.push(Step::Record(steps))
            }
            Type::Array(items) => {
                let wanted = node.map(|node| self.nodes[node].elements.clone()).unwrap_or_default();
                let wanted = wanted.into_iter().map(|(index, target)| (index, self.target(*items, Some(target))));
                let wanted = wanted.collect();
                let others = self.within(*items, None);
                self.push(Step::Array { wanted, others })
            }
            Type::Map(values) => {
                let names = node.map(|node| self.nodes[node].names.clone()).unwrap_or_default();
                let wanted = names.into_iter().map(|(name, target)| (name, self.target(*values, Some(target))));
                let wanted = wanted.collect();
                let others = self.within(*values, None);
                self.push(Step::Map { wanted, others })
            }
            Type::Union(branches) => {
                let steps = branches.iter().map(|&branch| self.within(branch, node)).collect();
                self.push(Step::Union(steps))
            }
            leaf => self.push(Step::Leaf { leaf: leaf_of(leaf, None), into: Box::default() }),
        }
    }

    /// The type's values are those of `columns`.
    fn values(&mut self, of: TypeId, columns: &[usize]) -> StepId {
        for &column in columns {
            self.placed[column] = true;
            let declared = &self.columns[column];
            if !self.any_fits(of, declared) {
                self.misfits.push(Misfit::new(declared, &self.schema.describe(of), allowed(declared)));
            }
        }
        self.value(of, columns)
    }

    fn value(&mut self, of: TypeId, into: &[usize]) -> StepId {
        let schema = self.schema;
        match schema.get(of) {
            Type::Union(branches) => {
                let steps = branches.iter().map(|&branch| self.value(branch, into)).collect();
                self.push(Step::Union(steps))
            }
            Type::Record(..) | Type::Array(_) | Type::Map(_) => {
                let inner = self.within(of, None);
                self.push(Step::Composite { inner, into: into.into() })
            }
            leaf => {
                let leaf = leaf_of(leaf, into.first().map(|&column| &self.columns[column]));
                self.push(Step::Leaf { leaf, into: into.into() })
            }
        }
    }

    /// Whether some values of the type may be the column's. Nulls alone are enough for one that may be null.
    fn any_fits(&self, of: TypeId, column: &Column) -> bool {
        match self.schema.get(of) {
            Type::Union(branches) => {
                let is_null = |branch: &&TypeId| *self.schema.get(**branch) == Type::Null;
                let mut others = branches.iter().filter(|branch| !is_null(branch)).peekable();
                if others.peek().is_none() {
                    return column.nullable;
                }
                others.any(|&branch| self.any_fits(branch, column))
            }
            Type::Null => column.nullable,
            other => fits(other, column),
        }
    }
}

fn fits(of: &Type, column: &Column) -> bool {
    let has_unit = column.timestamp_format != TimestampFormat::Rfc3339;
    match (column.column_type, of) {
        (ColumnType::Int, Type::Int(_) | Type::Long(_)) => true,
        (ColumnType::Double, Type::Int(_) | Type::Long(_) | Type::Float | Type::Double) => true,
        (ColumnType::Decimal { .. }, Type::Int(_) | Type::Long(_) | Type::String) => true,
        (
            ColumnType::Decimal { precision, scale },
            Type::Bytes(Logical::Decimal { precision: from, scale: places })
            | Type::Fixed(_, Logical::Decimal { precision: from, scale: places }),
        ) => *places <= scale.into() && from - places <= u32::from(precision - scale),
        (ColumnType::String, Type::String | Type::Enum(_) | Type::Bytes(Logical::None)) => true,
        (ColumnType::String, Type::Fixed(_, Logical::Uuid)) => true,
        (ColumnType::Bool, Type::Boolean) => true,
        (ColumnType::Timestamp, Type::Long(logical)) => match logical {
            Logical::TimestampMillis | Logical::TimestampMicros | Logical::TimestampNanos => true,
            Logical::None => has_unit,
            _ => false,
        },
        (ColumnType::Timestamp, Type::Int(Logical::None)) => has_unit,
        (ColumnType::Timestamp, Type::String) => !has_unit,
        _ => false,
    }
}

fn allowed(column: &Column) -> &'static str {
    match column.column_type {
        ColumnType::Int => "int or long",
        ColumnType::Double => "int, long, float or double",
        ColumnType::Decimal { .. } => {
            "a decimal with no more places and no more digits before them, int, long, or a number in a string"
        }
        ColumnType::String => "string, enum, uuid or bytes",
        ColumnType::Bool => "boolean",
        ColumnType::Timestamp if column.timestamp_format == TimestampFormat::Rfc3339 => {
            "a long of a timestamp type or a string as RFC 3339 has it (a plain long needs `format` in the pipeline)"
        }
        ColumnType::Timestamp => "a long, also one of a timestamp type",
    }
}

/// How the type is read. An int column has the count that a timestamp is, not the instant.
fn leaf_of(of: &Type, column: Option<&Column>) -> Leaf {
    let as_instant = column.is_none_or(|column| column.column_type != ColumnType::Int);
    match of {
        Type::Null => Leaf::Null,
        Type::Boolean => Leaf::Boolean,
        Type::Int(_) => Leaf::Int,
        Type::Long(Logical::TimestampMillis) if as_instant => Leaf::Instant { micros_per_unit: 1_000 },
        Type::Long(Logical::TimestampMicros) if as_instant => Leaf::Instant { micros_per_unit: 1 },
        Type::Long(Logical::TimestampNanos) if as_instant => Leaf::Instant { micros_per_unit: -1_000 },
        Type::Long(_) => Leaf::Long,
        Type::Float => Leaf::Float,
        Type::Double => Leaf::Double,
        Type::Bytes(Logical::Decimal { scale, .. }) => Leaf::Decimal { size: None, scale: *scale },
        Type::Bytes(_) => Leaf::Bytes,
        Type::String => Leaf::String,
        Type::Fixed(size, Logical::Decimal { scale, .. }) => Leaf::Decimal { size: Some(*size), scale: *scale },
        Type::Fixed(_, Logical::Uuid) => Leaf::Uuid,
        Type::Fixed(size, _) => Leaf::Fixed(*size),
        Type::Enum(symbols) => Leaf::Enum(symbols.as_slice().into()),
        Type::Array(_) | Type::Map(_) | Type::Record(..) | Type::Union(_) => {
            unreachable!("only types without parts are leaves")
        }
    }
}
