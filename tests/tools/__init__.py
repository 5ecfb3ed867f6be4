"""Programs beside the tests: `make` targets and makers of pages and pictures. What tests share stands above."""
