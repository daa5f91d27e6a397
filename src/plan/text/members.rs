//! Facts as CEL values. They differ from CEL's own maps in one point: a member that is not there reads as null instead of
//! being an error, so that `server.metadata["evacuation"] == "stop"` is false for a server without that key.

use std::collections::BTreeMap;

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Iterable, Iterator, Sizer};
use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelNull, CelString, MAP_TYPE, Type};
use cel::common::value::{CowVal, Val};
use serde_json::Value;

static NULL: CelNull = CelNull;

/// A record or a map of facts.
#[derive(Debug, Clone)]
pub(super) struct Members {
    values: BTreeMap<String, Box<dyn Val>>,
    /// The keys once more as values, for `server.metadata.exists(key, …)`.
    keys: Vec<CelString<'static>>,
}

/// Numbers are CEL's `int`, not `uint`, so that they can be compared and calculated with the numbers people write. No
/// fact comes near the end of an `i64`; one that did would read as the largest.
pub(super) fn value(fact: Value) -> Box<dyn Val> {
    match fact {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(value)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Box::new(CelInt::from(whole)),
            (None, Some(fraction)) if number.is_f64() => Box::new(CelDouble::from(fraction)),
            _ => Box::new(CelInt::from(i64::MAX)),
        },
        Value::String(text) => Box::new(CelString::from(text)),
        Value::Array(values) => Box::new(CelList::from(values.into_iter().map(value).collect::<Vec<_>>())),
        Value::Object(members) => {
            let keys = members.keys().map(|key| CelString::from(key.clone())).collect();
            let values = members.into_iter().map(|(key, member)| (key, value(member))).collect();
            Box::new(Members { values, keys })
        }
    }
}

impl Members {
    fn find(&self, key: &dyn Val) -> Result<Option<&(dyn Val + 'static)>, ExecutionError> {
        let Some(key) = key.downcast_ref::<CelString<'_>>() else {
            let (got, want) = (key.get_type().name().to_owned(), "string".to_owned());
            return Err(ExecutionError::UnexpectedType { got, want });
        };
        Ok(self.values.get(key.inner()).map(AsRef::as_ref))
    }
}

impl Val for Members {
    fn get_type(&self) -> &Type {
        &MAP_TYPE
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
}

impl Container for Members {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        self.find(key).map(|found| found.is_some())
    }
}

impl Indexer for Members {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(CowVal::Borrowed(self.find(key)?.unwrap_or(&NULL)))
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(key).map(CowVal::into_owned)
    }
}

impl Sizer for Members {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.values.len()).unwrap_or(i64::MAX))
    }
}

impl Iterable for Members {
    fn iter<'b, 'v>(&'b self) -> Box<dyn Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Keys(self.keys.iter()))
    }
}

struct Keys<'b>(std::slice::Iter<'b, CelString<'static>>);

impl<'b, 'v> Iterator<'b, 'v> for Keys<'b> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|key| key as &(dyn Val + 'v))
    }
}
