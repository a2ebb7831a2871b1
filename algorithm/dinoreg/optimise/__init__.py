"""From features and a start to a displacement: discrete search, coupled convex regularisation, Adam."""
