//! Writes records to Parquet files, with cursor columns of several types.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use super::{Random, spelled};

/// Types of the cursor column.
pub(super) const COLUMNS: u64 = 5;
const TYPES: [&str; 5] = [
    "int64 at",
    "double at",
    "int64 at (DECIMAL(18,2))",
    "int64 at (TIMESTAMP(MICROS,true))",
    "binary at (UTF8)",
];
/// Rows per row group.
const GROUP: usize = 3;

/// Returns a point in time in its form in such a column.
pub(super) fn value(random: &mut Random, column: u64, at: Option<i64>) -> Value {
    let endless = [json!(null), json!("NaN"), json!("inf"), json!("-inf")];
    match (column, at) {
        (0, at) => json!(at),
        (1, Some(at)) => json!(at as f64 / 4.0),
        (2, Some(at)) => json!(format!("-{}.50", 1_000 - at)),
        (3, Some(at)) => json!(format!("2026-11-01T{:02}:{:02}:00Z", at / 60, at % 60)),
        (_, Some(at)) => spelled(random, 3, at),
        (1 | 4, None) => random.of(&endless).clone(),
        (_, None) => Value::Null,
    }
}

/// Writes a file with several row groups.
pub(super) fn write(path: &Path, column: u64, records: &[&Value]) {
    let kind = TYPES[usize::try_from(column).unwrap()];
    let schema = format!("message rows {{ required int64 id; optional {kind}; required int64 v; }}");
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    for part in records.chunks(GROUP) {
        let mut group = file.next_row_group().unwrap();
        numbers(&mut group, part, "id");
        cursor(&mut group, column, part);
        numbers(&mut group, part, "v");
        group.close().unwrap();
    }
    file.close().unwrap();
}

fn numbers(group: &mut SerializedRowGroupWriter<'_, File>, records: &[&Value], name: &str) {
    let found: Vec<i64> = records.iter().map(|record| record[name].as_i64().unwrap()).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&found, None, None).unwrap();
    column.close().unwrap();
}

fn cursor(group: &mut SerializedRowGroupWriter<'_, File>, kind: u64, records: &[&Value]) {
    let values = records.iter().map(|record| &record["at"]);
    let levels: Vec<i16> = values.clone().map(|value| i16::from(!value.is_null())).collect();
    let present: Vec<&Value> = values.filter(|value| !value.is_null()).collect();
    let text = |value: &&Value| value.as_str().unwrap().to_owned();
    let whole = |value: &&Value| match kind {
        0 => value.as_i64().unwrap(),
        2 => text(value).replace('.', "").parse().unwrap(),
        _ => text(value).parse::<jiff::Timestamp>().unwrap().as_microsecond(),
    };
    let mut column = group.next_column().unwrap().unwrap();
    let written = match kind {
        1 => {
            let double = |value: &&Value| value.as_f64().unwrap_or_else(|| text(value).parse().unwrap());
            let found: Vec<f64> = present.iter().map(double).collect();
            column.typed::<DoubleType>().write_batch(&found, Some(&levels), None)
        }
        4 => {
            let found: Vec<ByteArray> = present.iter().map(|value| text(value).into_bytes().into()).collect();
            column.typed::<ByteArrayType>().write_batch(&found, Some(&levels), None)
        }
        _ => {
            let found: Vec<i64> = present.iter().map(whole).collect();
            column.typed::<Int64Type>().write_batch(&found, Some(&levels), None)
        }
    };
    written.unwrap();
    column.close().unwrap();
}
