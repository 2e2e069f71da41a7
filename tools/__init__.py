"""What the project is developed with: the demo, parity with Istio, the benchmark, and the parts that they and the tests need."""
