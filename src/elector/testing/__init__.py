"""What users import in their own tests: the conformance kit for stores."""
