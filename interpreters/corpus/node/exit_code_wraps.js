process.exit(256 + 2);
