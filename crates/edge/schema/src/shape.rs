//! The schema of a type: constant data that the generator writes and codecs read.

use crate::Pattern;

/// One shape of a model.
#[derive(Debug)]
pub struct Shape {
    /// The model's name, such as `RunTaskRequest`.
    pub name: &'static str,
    /// What values look like.
    pub kind: Kind,
    /// What values must satisfy when a stranger sends them.
    pub constraints: Constraints,
    /// Values are secret: never in logs and messages.
    pub sensitive: bool,
}

/// What values of a shape look like.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Members by name. Of a union exactly one member is set.
    Structure {
        /// In the model's order, which is also the order of the Rust type's fields.
        members: &'static [Member],
        /// Whether it is a union.
        union: bool,
    },
    /// A sequence.
    List {
        /// Of what.
        item: &'static Shape,
        /// The items' name in the protocols that name them, `member` unless the model says otherwise.
        item_name: &'static str,
        /// In the query protocols: items stand beside each other without an element around them.
        flattened: bool,
    },
    /// Keys, which are text, with values.
    Map {
        /// The keys' shape.
        key: &'static Shape,
        /// The values' shape.
        value: &'static Shape,
        /// The keys' name in the protocols that name them.
        key_name: &'static str,
        /// The values' name in the protocols that name them.
        value_name: &'static str,
        /// In the query protocols: entries stand beside each other without an element around them.
        flattened: bool,
    },
    /// Text.
    String,
    /// Text that is one of these.
    Enum(&'static [&'static str]),
    /// True or false.
    Boolean,
    /// 32 bits, signed.
    Integer,
    /// 64 bits, signed.
    Long,
    /// A floating point number; `float` and `double` of the models alike.
    Double,
    /// A point in time.
    Timestamp(TimestampFormat),
    /// Bytes.
    Blob,
    /// Any JSON.
    Document,
}

/// How time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampFormat {
    /// As the protocol does when a model says nothing.
    Default,
    /// Seconds since 1970 with a fraction.
    UnixTimestamp,
    /// `2026-11-20T22:30:00Z`
    Iso8601,
    /// `Fri, 20 Nov 2026 22:30:00 GMT`
    Rfc822,
}

/// One member of a structure.
#[derive(Debug)]
pub struct Member {
    /// The name on the wire.
    pub name: &'static str,
    /// The shape of its value.
    pub shape: &'static Shape,
    /// A request without it is refused.
    pub required: bool,
    /// Clients fill it in when their user did not, so that a repeated call is known as such.
    pub idempotency_token: bool,
}

/// What a model demands of values.
#[derive(Debug, Clone, Copy)]
pub struct Constraints {
    /// Of a text in characters, of a blob in bytes, of a list or map in items.
    pub length: Option<Bounds<u64>>,
    /// Of a number.
    pub range: Option<Bounds<f64>>,
    /// Of a text, the whole of it.
    pub pattern: Option<&'static Pattern>,
}

/// A least and a greatest value, both allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds<T> {
    /// The least.
    pub min: Option<T>,
    /// The greatest.
    pub max: Option<T>,
}

/// A type with a schema.
pub trait Shaped {
    /// The type's schema.
    const SHAPE: &'static Shape;
}

/// The shape of an operation's output that has none: a structure without members.
pub static UNIT: Shape = Shape::of("Unit", Kind::Structure { members: &[], union: false });

impl Shape {
    /// A shape without constraints.
    pub const fn of(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, constraints: Constraints::NONE, sensitive: false }
    }

    /// The same with constraints.
    #[must_use]
    pub const fn with(mut self, constraints: Constraints) -> Self {
        self.constraints = constraints;
        self
    }

    /// The same, secret.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// A structure's members; none for other shapes.
    pub fn members(&self) -> &'static [Member] {
        match self.kind {
            Kind::Structure { members, .. } => members,
            _ => &[],
        }
    }
}

impl Member {
    /// An optional member.
    pub const fn of(name: &'static str, shape: &'static Shape) -> Self {
        Self { name, shape, required: false, idempotency_token: false }
    }

    /// The same, required.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same, as an idempotency token.
    #[must_use]
    pub const fn idempotency_token(mut self) -> Self {
        self.idempotency_token = true;
        self
    }
}

impl Constraints {
    /// Every value will do.
    pub const NONE: Self = Self { length: None, range: None, pattern: None };

    /// Also bounds on the length.
    #[must_use]
    pub const fn length(mut self, min: Option<u64>, max: Option<u64>) -> Self {
        self.length = Some(Bounds { min, max });
        self
    }

    /// Also bounds on the number.
    #[must_use]
    pub const fn range(mut self, min: Option<f64>, max: Option<f64>) -> Self {
        self.range = Some(Bounds { min, max });
        self
    }

    /// Also a pattern.
    #[must_use]
    pub const fn pattern(mut self, pattern: &'static Pattern) -> Self {
        self.pattern = Some(pattern);
        self
    }
}
