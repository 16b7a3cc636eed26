//! List prices in US dollars, each with its source and date. No other module holds a price.
//!
//! Deliberately absent: discounts for commitments; AWS's free tier, most of which ends after a year; and what both
//! architectures need equally: sign-in, images, logs, domain names.

/// A price.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    pub what: &'static str,
    pub usd: f64,
    /// How many units `usd` pays for.
    pub units: f64,
    pub unit: &'static str,
    /// Units a month that the paid plan includes.
    pub included: f64,
    /// A number of units a month, and the price in place of `usd` for all beyond it.
    pub beyond: Option<(f64, f64)>,
    pub source: &'static str,
}

impl Price {
    /// The price of `units` units in a month. Those that are included cost nothing.
    pub fn usd(&self, units: f64) -> f64 {
        let charged = (units - self.included).max(0.0);
        let dear = self.beyond.map_or(charged, |(from, _)| charged.min(from));
        let cheap_usd = self.beyond.map_or(0.0, |(_, usd)| usd);
        (dear * self.usd + (charged - dear) * cheap_usd) / self.units
    }
}

const MILLION: f64 = 1e6;
const WORKERS: &str = "developers.cloudflare.com/workers/platform/pricing, July to October 2026";
const OBJECTS: &str = "developers.cloudflare.com/durable-objects/platform/pricing, July to October 2026";
const FARGATE: &str = "aws.amazon.com/fargate/pricing as given by vantage.sh/blog/fargate-pricing; its x86 price was \
                       the same in June 2026";
const GATEWAY: &str = "aws.amazon.com/api-gateway/pricing as given by wring.co/blog/aws-api-gateway-pricing-guide, \
                       2026; beyond 1,000 million messages, of which it says nothing, a fifth less is assumed";
const LAMBDA: &str = "aws.amazon.com/lambda/pricing as given by cloudchipr.com/blog/aws-lambda-pricing, 2024";
const CACHE: &str = "aws.amazon.com/elasticache/pricing as given by usage.ai, June 2026";
const RDS: &str = "aws.amazon.com/rds/postgresql/pricing as given by infratally.com, 2026";
const RDS_STORAGE: &str = "aws.amazon.com/rds/postgresql/pricing as given by usage.ai, June 2026";
const NETWORK: &str =
    "aws.amazon.com/vpc/pricing and /ec2/pricing/on-demand, first 10 TB, as given by wring.co and others, 2026";
const AURORA: &str = "aws.amazon.com/rds/aurora/pricing as given by awsnegotiations.com and c3x.dev, 2026";
const PROXY: &str = "aws.amazon.com/rds/proxy/pricing, $0.015 for each ACU-hour, 2025; unverified";
const ADDRESSES: &str = "aws.amazon.com/vpc/pricing, public IPv4 addresses, since 2024";
const ENDPOINTS: &str = "aws.amazon.com/privatelink/pricing, 2025; unverified";
const SECRETS: &str = "aws.amazon.com/secrets-manager/pricing and /kms/pricing, 2025";
const WATCHING: &str = "aws.amazon.com/cloudwatch/pricing, 2025";
const NAMES: &str = "aws.amazon.com/route53/pricing, 2025";
const BALANCER: &str = "aws.amazon.com/elasticloadbalancing/pricing as given by awsnegotiations.com, May 2026";

const fn price(
    what: &'static str,
    usd: f64,
    units: f64,
    unit: &'static str,
    included: f64,
    source: &'static str,
) -> Price {
    Price { what, usd, units, unit, included, beyond: None, source }
}

pub const PLAN: Price = price("Workers paid plan", 5.0, 1.0, "month", 0.0, WORKERS);
pub const WORKER_REQUESTS: Price = price("Worker requests", 0.30, MILLION, "request", 10.0 * MILLION, WORKERS);
pub const WORKER_CPU: Price = price("Worker CPU", 0.02, MILLION, "ms", 30.0 * MILLION, WORKERS);
pub const OBJECT_REQUESTS: Price = price("Durable Object requests", 0.15, MILLION, "request", MILLION, OBJECTS);
pub const OBJECT_DURATION: Price = price("Durable Object duration", 12.50, MILLION, "GB-s", 400_000.0, OBJECTS);
pub const ROWS_WRITTEN: Price = price("SQLite rows written", 1.0, MILLION, "row", 50.0 * MILLION, OBJECTS);
pub const ROWS_READ: Price = price("SQLite rows read", 0.001, MILLION, "row", 25_000.0 * MILLION, OBJECTS);
pub const OBJECT_STORAGE: Price = price("SQLite storage", 0.20, 1.0, "GB-month", 5.0, OBJECTS);

pub const GATEWAY_MESSAGES: Price = Price {
    beyond: Some((1_000.0 * MILLION, 0.80)),
    ..price("API Gateway WebSocket messages", 1.0, MILLION, "message", 0.0, GATEWAY)
};
pub const GATEWAY_MINUTES: Price = price("API Gateway connection minutes", 0.25, MILLION, "minute", 0.0, GATEWAY);
pub const LAMBDA_REQUESTS: Price = price("Lambda requests", 0.20, MILLION, "request", 0.0, LAMBDA);
pub const LAMBDA_DURATION: Price = price("Lambda duration, x86", 16.6667, MILLION, "GB-s", 0.0, LAMBDA);
pub const CACHE_UNITS: Price = price("ElastiCache Serverless units, Valkey", 0.0023, MILLION, "unit", 0.0, CACHE);
pub const CACHE_STORAGE: Price = price("ElastiCache Serverless storage, Valkey", 0.084, 1.0, "GB-hour", 0.0, CACHE);

pub const TASK_CPU: Price = price("Fargate vCPU, Linux on ARM", 0.03238, 1.0, "vCPU-hour", 0.0, FARGATE);
pub const TASK_MEMORY: Price = price("Fargate memory, Linux on ARM", 0.00356, 1.0, "GB-hour", 0.0, FARGATE);
/// The price per vCPU of a db.t4g.medium, which has two. Larger classes of other families cost more per vCPU.
pub const DATABASE_CPU: Price = price("RDS PostgreSQL vCPU, Multi-AZ", 0.065, 1.0, "vCPU-hour", 0.0, RDS);
pub const DATABASE_STORAGE: Price = price("RDS storage gp3, Multi-AZ", 0.23, 1.0, "GB-month", 0.0, RDS_STORAGE);
pub const NAT_HOURS: Price = price("NAT gateway", 0.045, 1.0, "hour", 0.0, NETWORK);
pub const NAT_DATA: Price = price("NAT gateway data", 0.045, 1.0, "GB", 0.0, NETWORK);
pub const DATA_OUT: Price = price("Data out of AWS", 0.09, 1.0, "GB", 0.0, NETWORK);
pub const BALANCER_HOURS: Price = price("Load balancer", 0.0225, 1.0, "hour", 0.0, BALANCER);
pub const BALANCER_UNITS: Price = price("Load balancer capacity", 0.008, 1.0, "LCU-hour", 0.0, BALANCER);

pub const AURORA_CAPACITY: Price = price("Aurora Serverless v2", 0.12, 1.0, "ACU-hour", 0.0, AURORA);
pub const AURORA_STORAGE: Price = price("Aurora storage", 0.10, 1.0, "GB-month", 0.0, AURORA);
pub const AURORA_IO: Price = price("Aurora I/O", 0.20, MILLION, "request", 0.0, AURORA);
pub const PROXY_CAPACITY: Price = price("RDS Proxy", 0.015, 1.0, "ACU-hour", 0.0, PROXY);
pub const ADDRESS_HOURS: Price = price("Public IPv4 address", 0.005, 1.0, "hour", 0.0, ADDRESSES);
pub const ENDPOINT_HOURS: Price = price("Interface endpoint, in one zone", 0.01, 1.0, "hour", 0.0, ENDPOINTS);
pub const SECRET: Price = price("Secret", 0.40, 1.0, "month", 0.0, SECRETS);
pub const KEY: Price = price("Key", 1.0, 1.0, "month", 0.0, SECRETS);
pub const METRIC: Price = price("Metric of a log", 0.30, 1.0, "month", 0.0, WATCHING);
pub const ALARM: Price = price("Alarm", 0.10, 1.0, "month", 0.0, WATCHING);
pub const NAMESPACE: Price = price("Private zone of names", 0.50, 1.0, "month", 0.0, NAMES);

/// All prices, for the report.
pub const ALL: [Price; 34] = [
    PLAN,
    WORKER_REQUESTS,
    WORKER_CPU,
    OBJECT_REQUESTS,
    OBJECT_DURATION,
    ROWS_WRITTEN,
    ROWS_READ,
    OBJECT_STORAGE,
    GATEWAY_MESSAGES,
    GATEWAY_MINUTES,
    LAMBDA_REQUESTS,
    LAMBDA_DURATION,
    CACHE_UNITS,
    CACHE_STORAGE,
    TASK_CPU,
    TASK_MEMORY,
    DATABASE_CPU,
    DATABASE_STORAGE,
    NAT_HOURS,
    NAT_DATA,
    DATA_OUT,
    BALANCER_HOURS,
    BALANCER_UNITS,
    AURORA_CAPACITY,
    AURORA_STORAGE,
    AURORA_IO,
    PROXY_CAPACITY,
    ADDRESS_HOURS,
    ENDPOINT_HOURS,
    SECRET,
    KEY,
    METRIC,
    ALARM,
    NAMESPACE,
];
