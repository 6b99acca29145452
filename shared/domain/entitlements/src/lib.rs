//! What a company may use and how much of it: plans, overrides, counters (S1.7, S3A.6, S13).
