"""The whole loop on one machine: three hospitals with generated patients, one coordinator, real Flower processes."""
