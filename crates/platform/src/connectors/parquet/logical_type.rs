//! Meaning of a column's values and their form in a row.

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::data_type::{ByteArray, Int96};
use parquet::schema::types::Type;
use serde_json::{Value, json};

use super::super::exact::embedded;
use super::super::row::{bytes, real};
use super::civil;

/// Julian day number of 1970-01-01, used by [`Int96`].
const JULIAN: i64 = 2_440_588;

/// A value as stored in the file.
pub(super) enum PhysicalKind {
    Bool(bool),
    Int(i64),
    Int96(Int96),
    Float(f32),
    Double(f64),
    Bytes(ByteArray),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LogicalKind {
    Boolean,
    Integer,
    Unsigned(u32),
    Number,
    /// A floating-point number of two bytes.
    Half,
    /// Number of fraction digits, and of all digits.
    Decimal(usize, i32),
    Text,
    Json,
    Bytes,
    Uuid,
    Date,
    /// Units per second; true for UTC, false for local time.
    Time(i64, bool),
    /// Units per second; true for an instant, false for local time.
    Timestamp(i64, bool),
    /// An instant in days and nanoseconds.
    DaysAndNanos,
    Interval,
}

impl LogicalKind {
    pub(super) fn of(field: &Type, arrow: bool) -> Self {
        let info = field.get_basic_info();
        let physical = field.get_physical_type();
        match info.logical_type_ref() {
            Some(LogicalType::String | LogicalType::Enum) => Self::Text,
            Some(LogicalType::Json) => Self::Json,
            Some(LogicalType::Uuid) => Self::Uuid,
            Some(LogicalType::Date) => Self::Date,
            Some(LogicalType::Time(time)) => {
                Self::Time(parts(&time.unit), time.is_adjusted_to_u_t_c && !arrow)
            }
            Some(LogicalType::Timestamp(at)) => Self::Timestamp(parts(&at.unit), at.is_adjusted_to_u_t_c),
            Some(LogicalType::Decimal(decimal)) => decimal_of(decimal.scale, decimal.precision),
            Some(LogicalType::Integer(integer)) if !integer.is_signed => {
                Self::Unsigned(integer.bit_width.unsigned_abs().into())
            }
            Some(LogicalType::Float16) => Self::Half,
            _ => Self::converted(field, info.converted_type(), physical),
        }
    }

    fn converted(field: &Type, converted: ConvertedType, physical: Physical) -> Self {
        match converted {
            ConvertedType::UTF8 | ConvertedType::ENUM => Self::Text,
            ConvertedType::JSON => Self::Json,
            ConvertedType::DATE => Self::Date,
            ConvertedType::TIME_MILLIS => Self::Time(1_000, false),
            ConvertedType::TIME_MICROS => Self::Time(1_000_000, false),
            ConvertedType::TIMESTAMP_MILLIS => Self::Timestamp(1_000, true),
            ConvertedType::TIMESTAMP_MICROS => Self::Timestamp(1_000_000, true),
            ConvertedType::DECIMAL => decimal_of(field.get_scale(), field.get_precision()),
            ConvertedType::UINT_8 => Self::Unsigned(8),
            ConvertedType::UINT_16 => Self::Unsigned(16),
            ConvertedType::UINT_32 => Self::Unsigned(32),
            ConvertedType::UINT_64 => Self::Unsigned(64),
            ConvertedType::INTERVAL => Self::Interval,
            _ => match physical {
                Physical::BOOLEAN => Self::Boolean,
                Physical::INT32 | Physical::INT64 => Self::Integer,
                Physical::INT96 => Self::DaysAndNanos,
                Physical::FLOAT | Physical::DOUBLE => Self::Number,
                Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY => Self::Bytes,
            },
        }
    }

    pub(super) fn name(&self) -> String {
        let name = match self {
            Self::Boolean => "boolean",
            Self::Integer | Self::Unsigned(_) => "integer",
            Self::Number | Self::Half => "number",
            Self::Decimal(scale, precision) => return format!("decimal({precision},{scale})"),
            Self::Text => "text",
            Self::Json => "json",
            Self::Bytes => "bytes",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Time(_, false) => "time",
            Self::Time(_, true) => "time with time zone",
            Self::Timestamp(_, true) | Self::DaysAndNanos => "timestamp with time zone",
            Self::Timestamp(_, false) => "timestamp",
            Self::Interval => "interval",
        };
        name.to_owned()
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(
            self,
            Self::Decimal(..) | Self::Text | Self::Uuid | Self::Date | Self::Time(..) | Self::Timestamp(..)
        )
    }

    /// Converts a value to its form in a row.
    ///
    /// A value that does not fit the kind keeps its form in the file.
    pub(super) fn value(&self, raw: PhysicalKind) -> Value {
        match (self, raw) {
            (Self::Unsigned(bits), PhysicalKind::Int(number)) => {
                (number.cast_unsigned() & mask(*bits)).into()
            }
            (Self::Decimal(scale, _), PhysicalKind::Int(number)) => point(&number.to_string(), *scale).into(),
            (Self::Decimal(scale, _), PhysicalKind::Bytes(found)) => {
                point(&digits(found.data()), *scale).into()
            }
            (Self::Date, PhysicalKind::Int(days)) => date(days).into(),
            (Self::Time(parts, utc), PhysicalKind::Int(number)) => {
                zoned(civil::time(i128::from(number) * i128::from(1_000_000_000 / parts)), *utc)
            }
            (Self::Timestamp(parts, moment), PhysicalKind::Int(number)) => timestamp(number, *parts, *moment),
            (_, PhysicalKind::Bool(truth)) => truth.into(),
            (_, PhysicalKind::Int(number)) => number.into(),
            (_, PhysicalKind::Int96(at)) => moment(&at),
            // Through the shortest decimal text, so that 0.1 stays 0.1.
            (_, PhysicalKind::Float(number)) => number.to_string().parse().map_or(Value::Null, real),
            (_, PhysicalKind::Double(number)) => real(number),
            (_, PhysicalKind::Bytes(found)) => self.of_bytes(found.data()),
        }
    }

    fn of_bytes(&self, found: &[u8]) -> Value {
        match (self, found) {
            (Self::Text, _) => std::str::from_utf8(found).map_or_else(|_| bytes(found), Value::from),
            (Self::Json, _) => std::str::from_utf8(found).map_or_else(|_| bytes(found), embedded),
            (Self::Half, [low, high]) => real(half(u16::from_le_bytes([*low, *high]))),
            (Self::Uuid, [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _]) => uuid(found).into(),
            (Self::Interval, [a, b, c, d, e, f, g, h, i, j, k, l]) => json!({
                "months": u32::from_le_bytes([*a, *b, *c, *d]),
                "days": u32::from_le_bytes([*e, *f, *g, *h]),
                "milliseconds": u32::from_le_bytes([*i, *j, *k, *l]),
            }),
            _ => bytes(found),
        }
    }
}

fn parts(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::MILLIS => 1_000,
        TimeUnit::MICROS => 1_000_000,
        TimeUnit::NANOS => 1_000_000_000,
    }
}

fn decimal_of(scale: i32, precision: i32) -> LogicalKind {
    LogicalKind::Decimal(usize::try_from(scale).unwrap_or(0), precision)
}

fn mask(bits: u32) -> u64 {
    u64::MAX >> 64_u32.saturating_sub(bits.max(1))
}

/// Formats a big-endian two's complement number of any length in decimal.
fn digits(found: &[u8]) -> String {
    let negative = found.first().is_some_and(|first| *first >= 0x80);
    let mut rest = found.to_vec();
    if negative {
        let mut carry = true;
        for byte in rest.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(carry.into());
        }
    }
    let mut digits = Vec::new();
    while rest.iter().any(|byte| *byte != 0) {
        let mut remainder = 0_u16;
        for byte in &mut rest {
            let dividend = remainder << 8 | u16::from(*byte);
            *byte = u8::try_from(dividend / 10).unwrap_or(u8::MAX);
            remainder = dividend % 10;
        }
        digits.push(char::from_digit(remainder.into(), 10).unwrap_or('0'));
    }
    if digits.is_empty() {
        digits.push('0');
    } else if negative {
        digits.push('-');
    }
    digits.iter().rev().collect()
}

/// Inserts the decimal point into an integer.
fn point(number: &str, scale: usize) -> String {
    if scale == 0 {
        return number.to_owned();
    }
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{part}")
}

/// The limits of the range represent the infinities of PostgreSQL and DuckDB.
fn date(days: i64) -> String {
    const LAST: i64 = i32::MAX as i64;
    match days {
        LAST => "infinity".into(),
        _ if days <= -LAST => "-infinity".into(),
        _ => civil::date(days),
    }
}

/// Formats a timestamp; the limits represent infinities, except for nanoseconds.
///
/// Those end in the year 2262, and their limits are dates in use.
fn timestamp(number: i64, parts: i64, moment: bool) -> Value {
    match number {
        i64::MAX if parts < 1_000_000_000 => "infinity".into(),
        _ if number <= -i64::MAX && parts < 1_000_000_000 => "-infinity".into(),
        _ => {
            let at = civil::date_time(i128::from(number) * i128::from(1_000_000_000 / parts));
            at.map_or_else(|| number.into(), |at| zoned(at, moment))
        }
    }
}

fn moment(at: &Int96) -> Value {
    let [low, high, day] = *at.data() else { return Value::Null };
    // The day is a signed 32-bit number, the nanoseconds a signed 64-bit number.
    let nanos = i128::from((u64::from(high) << 32 | u64::from(low)).cast_signed());
    let days = i128::from(day.cast_signed()) - i128::from(JULIAN);
    let at = civil::date_time(days * 86_400_000_000_000 + nanos);
    at.map_or(Value::Null, |at| zoned(at, true))
}

fn zoned(text: String, utc: bool) -> Value {
    if utc { format!("{text}Z").into() } else { text.into() }
}

fn half(bits: u16) -> f64 {
    let (sign, exponent, fraction) = (bits >> 15, i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    };
    if sign == 1 { -size } else { size }
}

fn uuid(found: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in found.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
