//! Containers' output: where the shim puts it, and, for the driver awslogs, how it gets from there to CloudWatch Logs.

mod batch;
mod destination;
mod shipper;
mod shippers;
mod sink;

pub(crate) use destination::LogSetupError;
pub(crate) use shippers::Shippers;
pub(crate) use sink::sink;
