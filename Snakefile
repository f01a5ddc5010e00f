"""Does a signal read off a candidate example predict how well it works as a one-shot demonstration?

Everything:     snakemake --cores 1 --resources gpu=1
One data set:   snakemake --cores 1 results/report/boolq.html
"""

import os

from snakemake.utils import min_version

min_version("9.25")


# Where the folder in which Snakemake runs has no configuration, the workflow's own is taken.
CONFIG = "config/config.yaml"
if not os.path.exists(CONFIG):
    CONFIG = workflow.current_basedir.join(CONFIG).get_path_or_uri(secret_free=True)


include: "workflow/rules/place.smk"


# A study given with --configfile stands alone: merged with the default study it would run both.
configfile: next(iter(workflow.overwrite_configfiles), CONFIG)


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/sample.smk"
include: "workflow/rules/activations.smk"
include: "workflow/rules/metrics.smk"
include: "workflow/rules/saes.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/representations.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/correlation.smk"
include: "workflow/rules/selection.smk"
include: "workflow/rules/shots.smk"
include: "workflow/rules/halving.smk"
include: "workflow/rules/budget.smk"
include: "workflow/rules/learning.smk"
include: "workflow/rules/plots.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/preview.smk"


wildcard_constraints:
    model="|".join(map(re.escape, study.models)),
    dataset="|".join(map(re.escape, study.datasets)),
    mask="|".join(map(re.escape, study.masks)),
    sae="|".join(map(re.escape, study.saes())) or "(?!)",
    role="candidates|items",
    block=blocks.NAME,
    end=r"\d+",
    asked="[0-9a-f]+",


rule all:
    default_target: True
    input:
        study.ends,
        "<results>/SHA256SUMS",
        study.token_activations,
    localrule: True


onsuccess:
    if line := closing_line(study.results):
        print(line, file=sys.stderr)
