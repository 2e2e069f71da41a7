"""What the project is developed with: parity with Istio, the benchmark, and the engine that tests need."""
