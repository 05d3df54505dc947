//! Columns of scattered rows: numbers that are near each other take half of their bytes, or none where all are the same. So more
//! rows wait in the same memory, and each shard gets more of them at a time.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Int64Array},
    datatypes::{DataType, Decimal64Type, Int64Type, TimestampMicrosecondType},
};

use crate::{
    measure::{
        Error,
        input::{Input, bounds},
    },
    schema::ColumnType,
};

/// A column.
#[derive(Debug)]
pub(super) enum Column {
    /// The same number in every row.
    Same { value: i64, data_type: DataType },
    /// How much more than the least each number is, and the greatest.
    Near { least: i64, greatest: i64, more: Vec<u32>, data_type: DataType },
    /// Any other.
    Array(ArrayRef),
}

impl Column {
    /// The numbers of `parts`, which are ints, time stamps or short decimals without nulls: each picked row in its place, as in
    /// [`scattered`](super::scatter). `None` if they are something else, or too far from each other.
    pub(super) fn of(parts: &[(&ArrayRef, usize)], rows: &[u32], places: &[u32]) -> Option<Self> {
        let slices = parts.iter().map(|(part, picked)| Some((numbers(part)?, *picked)));
        let slices: Vec<(&[i64], usize)> = slices.collect::<Option<_>>()?;
        let ends = slices.iter().filter(|(values, _)| !values.is_empty()).map(|(values, _)| bounds(values));
        let (least, greatest) = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        let data_type = parts[0].0.data_type().clone();
        if least == greatest {
            return Some(Self::Same { value: least, data_type });
        }
        u32::try_from(greatest.wrapping_sub(least) as u64).ok()?;
        let mut more = vec![0; places.len()];
        let mut at = 0;
        for (values, picked) in slices {
            for (&row, &place) in rows[at..at + picked].iter().zip(&places[at..]) {
                more[place as usize] = values[row as usize].wrapping_sub(least) as u32;
            }
            at += picked;
        }
        Some(Self::Near { least, greatest, more, data_type })
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Same { .. } => 0,
            Self::Near { more, .. } => more.capacity() * size_of::<u32>(),
            Self::Array(array) => array.get_array_memory_size(),
        }
    }

    /// `rows` rows from `start` on.
    pub(super) fn slice(&self, start: usize, rows: usize) -> ArrayRef {
        match self {
            Self::Same { value, data_type } => array(vec![*value; rows], data_type),
            Self::Near { least, more, data_type, .. } => {
                let values = more[start..start + rows].iter().map(|&more| least.wrapping_add(i64::from(more)));
                array(values.collect(), data_type)
            }
            Self::Array(array) => array.slice(start, rows),
        }
    }

    /// [`Self::slice`], as what is folded.
    ///
    /// # Errors
    /// [`Error::Type`].
    pub(super) fn input(&self, start: usize, rows: usize, expected: ColumnType) -> Result<Input, Error> {
        let input = Input::new(|| "of a view".to_owned(), self.slice(start, rows), expected)?;
        Ok(match *self {
            Self::Same { value, .. } => input.within(value, value),
            Self::Near { least, greatest, .. } => input.within(least, greatest),
            Self::Array(_) => input,
        })
    }
}

/// The numbers of a column that has them in 64 bits, and no nulls.
fn numbers(part: &ArrayRef) -> Option<&[i64]> {
    fn values<T: ArrowPrimitiveType<Native = i64>>(part: &ArrayRef) -> Option<&[i64]> {
        part.as_primitive_opt::<T>().map(|array| &array.values()[..])
    }
    if part.null_count() > 0 {
        return None;
    }
    values::<Int64Type>(part)
        .or_else(|| values::<TimestampMicrosecondType>(part))
        .or_else(|| values::<Decimal64Type>(part))
}

/// The column of these numbers, of a type that [`numbers`] knows.
fn array(values: Vec<i64>, data_type: &DataType) -> ArrayRef {
    let ints = Int64Array::new(values.into(), None);
    match data_type {
        DataType::Timestamp(..) => {
            Arc::new(ints.reinterpret_cast::<TimestampMicrosecondType>().with_data_type(data_type.clone()))
        }
        DataType::Decimal64(..) => Arc::new(ints.reinterpret_cast::<Decimal64Type>().with_data_type(data_type.clone())),
        _ => Arc::new(ints),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use arrow::array::{Decimal64Array, TimestampMicrosecondArray};
    use proptest::prelude::*;

    use super::*;

    fn any_number() -> impl Strategy<Value = i64> {
        prop_oneof![Just(7), -9..9_i64, (0..1_i64 << 33), Just(i64::MIN), Just(i64::MAX), any::<i64>()]
    }

    proptest! {
        #[test]
        fn numbers_are_what_they_were(values in prop::collection::vec(any_number(), 1..6), same in any::<bool>()) {
            let values = if same { vec![values[0]; values.len()] } else { values };
            let ints: ArrayRef = Arc::new(Int64Array::from(values.clone()));
            let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(values.clone()).with_timezone("UTC"));
            let decimal = DataType::Decimal64(18, 2);
            let decimals: ArrayRef = Arc::new(Decimal64Array::from(values.clone()).with_data_type(decimal));
            let places: Vec<u32> = (0..values.len() as u32).collect();
            for array in [ints, times, decimals] {
                let (least, greatest) = (*values.iter().min().unwrap(), *values.iter().max().unwrap());
                let near = greatest.abs_diff(least) <= u64::from(u32::MAX);
                let column = Column::of(&[(&array, values.len())], &places, &places);
                prop_assert_eq!(column.is_some(), near);
                if let Some(column) = column {
                    prop_assert_eq!(&column.slice(0, values.len()), &array);
                    prop_assert_eq!(&column.slice(1, values.len() - 1), &array.slice(1, values.len() - 1));
                }
            }
        }
    }

    #[test]
    fn nulls_and_other_types_are_left_to_others() {
        let nulls: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let doubles: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![1.0, 2.0]));
        for array in [nulls, doubles] {
            assert!(Column::of(&[(&array, 2)], &[0, 1], &[0, 1]).is_none());
        }
    }
}
