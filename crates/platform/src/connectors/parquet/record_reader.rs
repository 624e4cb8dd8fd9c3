//! Assembles rows from columns.
//!
//! A column contains values with definition levels (depth of nulls) and repetition levels (starts
//! of lists); a shape interprets them.

use parquet::basic::{ConvertedType, LogicalType, Repetition};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::DataType;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::RowGroupReader;
use parquet::schema::types::{Type, TypePtr};
use serde_json::{Map, Value};

use super::super::MAX_RECORD_BYTES;
use super::super::SourceColumn as Described;
use super::super::exact::free;
use super::super::row::{RowText, distinct};
use super::ParquetRecord;
use super::logical_type::{LogicalKind, PhysicalKind};
use super::pages::Guarded;

/// Maximum nesting, deeper than real tables and safe for the stack.
pub(super) const MAX_DEPTH: usize = 64;

/// Bytes of a value in addition to those of a text.
const PLAIN: usize = 8;

/// Structure of a file's rows.
pub(super) struct RowShape {
    /// Name, values, and whether they may be null.
    fields: Vec<(String, SchemaNode, bool)>,
    /// Places of the fields, sorted by name like the fields of other records.
    sorted: Vec<usize>,
}

enum SchemaNode {
    Leaf {
        column: usize,
        kind: LogicalKind,
    },
    Group {
        first: usize,
        fields: Vec<(String, SchemaNode)>,
    },
    /// Present if the definition level of its first column is at least `defined`.
    Optional {
        defined: i16,
        inner: Box<SchemaNode>,
    },
    /// Elements continue while the first column repeats at this level.
    List {
        defined: i16,
        repeated: i16,
        inner: Box<SchemaNode>,
    },
    /// A list of groups with a text and a value field, which becomes an object.
    Pairs {
        inner: Box<SchemaNode>,
        key: String,
        value: String,
    },
}

impl RowShape {
    /// Reads a schema.
    ///
    /// With `arrow`, times of a day have no zone regardless of the schema, because Arrow has none.
    pub(super) fn of(root: &Type, arrow: bool) -> Result<Self> {
        let mut building = Building { next: 0, depth: 0, arrow };
        let mut fields = Vec::new();
        for (field, name) in root.get_fields().iter().zip(names(root)) {
            let node = building.node(field, 0, 0)?;
            fields.push((name, node, field.is_optional()));
        }
        let mut sorted: Vec<_> = (0..fields.len()).collect();
        sorted.sort_by_key(|place| &fields[*place].0);
        Ok(Self { fields, sorted })
    }

    /// Returns the columns of a row according to the schema.
    pub(super) fn columns(&self) -> Vec<Described> {
        let described = |(name, node, optional): &(String, SchemaNode, bool)| Described {
            nullable: Some(*optional),
            ..Described::new(name, node.name())
        };
        self.fields.iter().map(described).collect()
    }
}

/// Counts the columns during the descent.
struct Building {
    next: usize,
    depth: usize,
    arrow: bool,
}

impl Building {
    fn node(&mut self, field: &TypePtr, defined: i16, repeated: i16) -> Result<SchemaNode> {
        let inner = |node| Box::new(node);
        Ok(match repetition(field) {
            Repetition::REQUIRED => self.required(field, defined, repeated)?,
            Repetition::OPTIONAL => {
                let defined = defined + 1;
                SchemaNode::Optional { defined, inner: inner(self.required(field, defined, repeated)?) }
            }
            Repetition::REPEATED => {
                let (defined, repeated) = (defined + 1, repeated + 1);
                SchemaNode::List { defined, repeated, inner: inner(self.required(field, defined, repeated)?) }
            }
        })
    }

    fn required(&mut self, field: &TypePtr, defined: i16, repeated: i16) -> Result<SchemaNode> {
        if field.is_primitive() {
            self.next += 1;
            return Ok(SchemaNode::Leaf { column: self.next - 1, kind: LogicalKind::of(field, self.arrow) });
        }
        if let Some(LogicalType::Variant(_)) = field.get_basic_info().logical_type_ref() {
            return Err(ParquetError::General(format!(
                "the column {} is of the type VARIANT, which is not read; write it as JSON or as a struct",
                field.name()
            )));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ParquetError::General("its columns are nested too deeply".into()));
        }
        let node = self.group(field, defined, repeated);
        self.depth -= 1;
        node
    }

    fn group(&mut self, field: &TypePtr, defined: i16, repeated: i16) -> Result<SchemaNode> {
        let first = self.next;
        let info = field.get_basic_info();
        let is = |logical: &LogicalType, converted: &[ConvertedType]| {
            info.logical_type_ref() == Some(logical) || converted.contains(&info.converted_type())
        };
        if let [only] = field.get_fields()
            && repetition(only) == Repetition::REPEATED
        {
            if is(&LogicalType::List, &[ConvertedType::LIST]) {
                return self.list(field, only, defined + 1, repeated + 1);
            }
            if is(&LogicalType::Map, &[ConvertedType::MAP, ConvertedType::MAP_KEY_VALUE])
                && only.is_group()
                && let [key, value] = names(only).as_slice()
            {
                let (key, value) = (key.clone(), value.clone());
                let text = only
                    .get_fields()
                    .first()
                    .is_some_and(|key| key.is_primitive() && LogicalKind::of(key, self.arrow).is_text());
                let inner = Box::new(self.node(only, defined, repeated)?);
                // With other keys, the pairs remain a list.
                return Ok(if text { SchemaNode::Pairs { inner, key, value } } else { *inner });
            }
        }
        let mut fields = Vec::new();
        for (field, name) in field.get_fields().iter().zip(names(field)) {
            fields.push((name, self.node(field, defined, repeated)?));
        }
        if self.next == first {
            return Err(ParquetError::General(format!("the group {} has no columns", field.name())));
        }
        Ok(SchemaNode::Group { first, fields })
    }

    /// Builds a list.
    ///
    /// The repeated field wraps the elements, except in files of old writers, where it is the
    /// element. These rules of the format distinguish them.
    fn list(&mut self, list: &Type, only: &TypePtr, defined: i16, repeated: i16) -> Result<SchemaNode> {
        let named = only.name() == "array" || only.name() == format!("{}_tuple", list.name());
        let elements = if only.is_group() { only.get_fields() } else { &[] };
        let inner = match elements {
            [element] if !named && repetition(element) != Repetition::REPEATED => {
                self.node(element, defined, repeated)?
            }
            _ => self.required(only, defined, repeated)?,
        };
        Ok(SchemaNode::List { defined, repeated, inner: Box::new(inner) })
    }
}

impl SchemaNode {
    fn first(&self) -> usize {
        match self {
            Self::Leaf { column, .. } => *column,
            Self::Group { first, .. } => *first,
            Self::Optional { inner, .. } | Self::List { inner, .. } | Self::Pairs { inner, .. } => {
                inner.first()
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Leaf { kind, .. } => kind.name(),
            Self::Group { .. } => "object".into(),
            Self::Optional { inner, .. } => inner.name(),
            Self::List { inner, .. } => format!("array of {}", inner.name()),
            Self::Pairs { .. } => "object".into(),
        }
    }

    fn take(&self, columns: &mut Columns) -> Result<Value> {
        match self {
            Self::Leaf { column, kind } => columns.value(*column, kind),
            Self::Group { fields, .. } => {
                let mut object = Map::new();
                for (name, node) in fields {
                    object.insert(name.clone(), node.take(columns)?);
                }
                Ok(object.into())
            }
            Self::Optional { defined, inner } => {
                if columns.column(inner.first())?.defined()? >= *defined {
                    return inner.take(columns);
                }
                inner.skip(columns)?;
                Ok(Value::Null)
            }
            Self::List { defined, repeated, inner } => {
                if columns.column(inner.first())?.defined()? < *defined {
                    inner.skip(columns)?;
                    return Ok(Value::Array(Vec::new()));
                }
                let mut items = vec![inner.take(columns)?];
                while columns.column(inner.first())?.repeats(*repeated) {
                    items.push(inner.take(columns)?);
                }
                Ok(items.into())
            }
            Self::Pairs { inner, key, value } => Ok(object(inner.take(columns)?, key, value)),
        }
    }

    /// Skips the levels of absent values.
    fn skip(&self, columns: &mut Columns) -> Result<()> {
        match self {
            Self::Leaf { column, .. } => columns.column(*column)?.skip(),
            Self::Group { fields, .. } => fields.iter().try_for_each(|(_, node)| node.skip(columns)),
            Self::Optional { inner, .. } | Self::List { inner, .. } | Self::Pairs { inner, .. } => {
                inner.skip(columns)
            }
        }
    }
}

/// Returns an object, or the pairs if a key is not valid text.
fn object(pairs: Value, key: &str, value: &str) -> Value {
    let mut fields = Map::new();
    for pair in pairs.as_array().map_or(&[][..], Vec::as_slice) {
        let Some(name) = pair[key].as_str() else { return pairs };
        fields.insert(free(&fields, name.to_owned()), pair[value].clone());
    }
    fields.into()
}

/// Returns unique names for the fields of a group.
fn names(group: &Type) -> Vec<String> {
    distinct(group.get_fields().iter().map(|field| field.name().to_owned()))
}

fn repetition(field: &Type) -> Repetition {
    let info = field.get_basic_info();
    if info.has_repetition() { info.repetition() } else { Repetition::REQUIRED }
}

/// Columns of one row group.
pub(super) struct Columns {
    columns: Vec<LeafColumn>,
    /// Remaining bytes for the values of a row.
    remaining_bytes: usize,
}

impl Columns {
    pub(super) fn of(group: &dyn RowGroupReader) -> Result<Self> {
        (0..group.num_columns())
            .map(|number| {
                let about = group.metadata().column(number).column_descr_ptr();
                let (deepest, repeats) = (about.max_def_level(), about.max_rep_level());
                let pages = Guarded::new(group.get_column_page_reader(number)?, &about);
                Ok(LeafColumn {
                    reader: get_column_reader(about, Box::new(pages)),
                    value_level: deepest,
                    repeats,
                    defined: Vec::new(),
                    repeated: Vec::new(),
                    values: Vec::new().into_iter(),
                    next: 0,
                })
            })
            .collect::<Result<_>>()
            .map(|columns| Self { columns, remaining_bytes: MAX_RECORD_BYTES })
    }

    /// Reads the values of the next `count` rows, which must exist.
    pub(super) fn fill(&mut self, count: usize) -> Result<()> {
        self.columns.iter_mut().try_for_each(|column| column.fill(count))
    }

    /// Returns the next row.
    ///
    /// Fails if it exceeds the record limit: many of its values may be one dictionary value.
    pub(super) fn row(&mut self, shape: &RowShape) -> Result<ParquetRecord> {
        self.remaining_bytes = MAX_RECORD_BYTES;
        let mut row = Map::new();
        for (name, node, _) in &shape.fields {
            row.insert(name.clone(), node.take(self)?);
        }
        Ok(row)
    }

    /// Like [`Columns::row`], as text.
    pub(super) fn write_row<'t>(&mut self, shape: &RowShape, text: &'t mut RowText) -> Result<&'t str> {
        self.remaining_bytes = MAX_RECORD_BYTES;
        text.clear();
        for place in &shape.sorted {
            let (name, node, _) = &shape.fields[*place];
            text.put(name, &node.take(self)?);
        }
        Ok(text.finish())
    }

    fn value(&mut self, number: usize, kind: &LogicalKind) -> Result<Value> {
        let (value, size) = self.column(number)?.take(kind)?;
        let left = self.remaining_bytes.checked_sub(size);
        self.remaining_bytes = left.ok_or_else(|| {
            ParquetError::General(format!("a row is larger than {} MiB", MAX_RECORD_BYTES >> 20))
        })?;
        Ok(value)
    }

    fn column(&mut self, number: usize) -> Result<&mut LeafColumn> {
        self.columns.get_mut(number).ok_or_else(truncated_error)
    }
}

struct LeafColumn {
    reader: ColumnReader,
    value_level: i16,
    /// Number of enclosing lists.
    repeats: i16,
    defined: Vec<i16>,
    repeated: Vec<i16>,
    values: std::vec::IntoIter<PhysicalKind>,
    next: usize,
}

impl LeafColumn {
    fn fill(&mut self, count: usize) -> Result<()> {
        self.defined.clear();
        self.repeated.clear();
        self.next = 0;
        let levels = (self.value_level > 0).then_some(&mut self.defined);
        let lists = (self.repeats > 0).then_some(&mut self.repeated);
        let into = Filling { count, levels, lists };
        let values = match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => into.read(reader, PhysicalKind::Bool),
            ColumnReader::Int32ColumnReader(reader) => into.read(reader, |n| PhysicalKind::Int(n.into())),
            ColumnReader::Int64ColumnReader(reader) => into.read(reader, PhysicalKind::Int),
            ColumnReader::Int96ColumnReader(reader) => into.read(reader, PhysicalKind::Int96),
            ColumnReader::FloatColumnReader(reader) => into.read(reader, PhysicalKind::Float),
            ColumnReader::DoubleColumnReader(reader) => into.read(reader, PhysicalKind::Double),
            ColumnReader::ByteArrayColumnReader(reader) => into.read(reader, PhysicalKind::Bytes),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                into.read(reader, |bytes| PhysicalKind::Bytes(bytes.into()))
            }
        };
        self.values = values?.into_iter();
        Ok(())
    }

    fn defined(&self) -> Result<i16> {
        if self.value_level == 0 {
            Ok(0)
        } else {
            self.defined.get(self.next).copied().ok_or_else(truncated_error)
        }
    }

    fn repeats(&self, level: i16) -> bool {
        self.repeated.get(self.next) == Some(&level)
    }

    /// Returns the next value, and its approximate size in bytes.
    fn take(&mut self, kind: &LogicalKind) -> Result<(Value, usize)> {
        let there = self.defined()? == self.value_level;
        self.next += 1;
        if !there {
            return Ok((Value::Null, PLAIN));
        }
        let raw = self.values.next().ok_or_else(truncated_error)?;
        let size = PLAIN + if let PhysicalKind::Bytes(bytes) = &raw { bytes.len() } else { 0 };
        Ok((kind.value(raw), size))
    }

    fn skip(&mut self) -> Result<()> {
        if self.defined()? == self.value_level {
            return Err(truncated_error());
        }
        self.next += 1;
        Ok(())
    }
}

/// Target of reading a column.
struct Filling<'a> {
    count: usize,
    levels: Option<&'a mut Vec<i16>>,
    lists: Option<&'a mut Vec<i16>>,
}

impl Filling<'_> {
    fn read<T: DataType>(
        self,
        reader: &mut ColumnReaderImpl<T>,
        raw: impl Fn(T::T) -> PhysicalKind,
    ) -> Result<Vec<PhysicalKind>> {
        let mut values = Vec::new();
        let (rows, ..) = reader.read_records(self.count, self.levels, self.lists, &mut values)?;
        if rows < self.count {
            return Err(truncated_error());
        }
        Ok(values.into_iter().map(raw).collect())
    }
}

fn truncated_error() -> ParquetError {
    ParquetError::General("its columns do not fit together".into())
}
