"""The verdict, the record of the run, and the pages that people read.

Inputs:  the final tables and figures of every model on the data sets concerned
Outputs: <results>/verdict.json, <results>/summary.parquet, <results>/run.json      of the whole study
         <results>/verdict/{dataset}.json, summary/{dataset}.parquet, run/{dataset}.json  of one data set
         <results>/report/index.html, <results>/report/{dataset}.html
         <results>/SHA256SUMS   the checksum of every result, for `make verify`; written last
         <results>/report/candidates/{model}/{dataset}.html  the explorer of the candidates
"""


rule run_record_of_dataset:
    input:
        models=expand("<resources>/models/{model}/source.json", model=MODELS),
        datasets="<resources>/data/{dataset}/source.json",
    output:
        "<results>/run/{dataset}.json",
    log:
        "<logs>/run_record/{dataset}.log",
    benchmark:
        "<benchmarks>/run_record/{dataset}.jsonl"
    conda:
        "../../envs/models.yaml"
    params:
        settings=lambda wildcards: study_of(wildcards.dataset),
        code=code_digest("run_record"),
    script:
        "../scripts/run_record.py"


rule run_record:
    input:
        models=expand("<resources>/models/{model}/source.json", model=MODELS),
        datasets=expand("<resources>/data/{dataset}/source.json", dataset=DATASETS),
    output:
        "<results>/run.json",
    log:
        "<logs>/run_record.log",
    benchmark:
        "<benchmarks>/run_record.jsonl"
    conda:
        "../../envs/models.yaml"
    params:
        settings=config,
        code=code_digest("run_record"),
    script:
        "../scripts/run_record.py"


rule verdict_of_dataset:
    input:
        **final_tables(["{dataset}"]),
    output:
        verdict="<results>/verdict/{dataset}.json",
        summary="<results>/summary/{dataset}.parquet",
    log:
        "<logs>/verdict/{dataset}.log",
    benchmark:
        "<benchmarks>/verdict/{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings={"smallest_useful_effect": config["correlation"]["smallest_useful_effect"], **config["verdict"]},
        models=MODELS,
        code=code_digest("verdict"),
    script:
        "../scripts/verdict.py"


rule verdict:
    input:
        **final_tables(DATASETS),
    output:
        verdict="<results>/verdict.json",
        summary="<results>/summary.parquet",
    log:
        "<logs>/verdict.log",
    benchmark:
        "<benchmarks>/verdict.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings={"smallest_useful_effect": config["correlation"]["smallest_useful_effect"], **config["verdict"]},
        models=MODELS,
        code=code_digest("verdict"),
    script:
        "../scripts/verdict.py"


rule explorer:
    input:
        **{table: f"<results>/{table}/{{model}}/{{dataset}}.parquet" for table in FINAL_TABLES},
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
        evaluation="<results>/evaluation/{model}/{dataset}.parquet",
        features="<results>/features/{model}/{dataset}.parquet",
        metrics=expand("<results>/metrics/{{model}}/{{dataset}}/{mask}.parquet", mask=MASKS),
    output:
        report(
            "<results>/report/candidates/{model}/{dataset}.html",
            caption="../report/explorer.rst",
            category="{dataset}",
            labels={"model": "{model}", "figure": "explorer of the candidates"},
        ),
    log:
        "<logs>/report/candidates-{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/report/candidates-{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        masks=MASKS,
        code=code_digest("explorer"),
    script:
        "../scripts/explorer.py"


rule page:
    input:
        **final_tables(["{dataset}"]),
        figures=expand("<results>/plots/{model}/{{dataset}}/{figure}.svg", figure=FIGURES, model=MODELS),
        massive=expand("<results>/massive/{model}/{{dataset}}.parquet", model=MODELS),
        comparison=expand("<results>/plots/{{dataset}}/{figure}.svg", figure=COMPARISONS if len(MODELS) > 1 else []),
        explorers=expand("<results>/report/candidates/{model}/{{dataset}}.html", model=MODELS),
        candidates="<results>/samples/{dataset}/candidates.parquet",
        run_record="<results>/run/{dataset}.json",
        verdict="<results>/verdict/{dataset}.json",
    output:
        report(
            "<results>/report/{dataset}.html",
            caption="../report/page.rst",
            category="{dataset}",
            labels={"model": "all", "figure": "page of the data set"},
        ),
    log:
        "<logs>/report/{dataset}.log",
    benchmark:
        "<benchmarks>/report/{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=lambda wildcards: study_of(wildcards.dataset),
        models=MODELS,
        code=code_digest("page"),
    script:
        "../scripts/page.py"


rule index:
    input:
        **final_tables(DATASETS),
        pages=expand("<results>/report/{dataset}.html", dataset=DATASETS),
        explorers=expand("<results>/report/candidates/{model}/{dataset}.html", dataset=DATASETS, model=MODELS),
        run_record="<results>/run.json",
        verdict="<results>/verdict.json",
    output:
        report(
            "<results>/report/index.html",
            caption="../report/index.rst",
            category="whole study",
            labels={"model": "all", "figure": "answer and overview"},
        ),
    log:
        "<logs>/report/index.log",
    benchmark:
        "<benchmarks>/report/index.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=config,
        models=MODELS,
        code=code_digest("index"),
    script:
        "../scripts/index.py"


rule manifest:
    input:
        STUDY_ENDS,
    output:
        "<results>/SHA256SUMS",
    log:
        "<logs>/manifest.log",
    benchmark:
        "<benchmarks>/manifest.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_digest("manifest"),
    script:
        "../scripts/manifest.py"
