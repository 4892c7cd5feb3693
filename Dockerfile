# The images of Laneway: `runtime` (gateway, poller, workers) and `operator` (operator, metrics adapter).
#
# `make images` builds both: it puts Laneway's wheel and those of all that it needs, for the Python of BASE,
# into dist/wheels, and the builds below take everything from there, with no network. BASE is any image with
# Python 3.11 or newer as `python3` and the CA certificates of public authorities.
#
# Sizes, and why they are what they are: docs/how-to/bring-your-own-image.md.

ARG BASE=python:3.12-slim

# ------------------------------------------------------------------------------------------ virtual environments
# pip runs from its own wheel and is installed nowhere, so nothing that installs is left in the end.

FROM ${BASE} AS build-runtime
COPY dist/wheels /wheels
COPY constraints.txt /wheels/constraints.txt
RUN test -e /wheels/laneway-*.whl || { echo "dist/wheels has no wheel of Laneway: run make images, not the builder itself" >&2; exit 1; }
RUN python3 -m venv --without-pip /opt/laneway \
    && /opt/laneway/bin/python "$(ls /wheels/pip-*.whl)/pip" --no-cache-dir --disable-pip-version-check install \
        --no-index --find-links /wheels --constraint /wheels/constraints.txt 'laneway[otel]' \
    && rm -rf /opt/laneway/bin/activate* /opt/laneway/bin/Activate*

FROM build-runtime AS build-operator
RUN /opt/laneway/bin/python "$(ls /wheels/pip-*.whl)/pip" --no-cache-dir --disable-pip-version-check install \
        --no-index --find-links /wheels --constraint /wheels/constraints.txt 'laneway[operator,otel]' \
    # 1,600 models of Kubernetes' objects, of which the operator uses none: what it does import is compiled below.
    && find /opt/laneway/lib/python3*/site-packages/kubernetes -name __pycache__ -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------------------- clean base
# No pip and no wheels to install it from. Nothing that starts runs as root: root's part ends with USER below.

FROM ${BASE} AS clean
RUN rm -rf /usr/local/lib/python3*/site-packages/* /usr/local/lib/python3*/ensurepip /usr/local/bin/pip* \
        /usr/lib/python3*/ensurepip /usr/share/python-wheels /root/.cache \
    && echo 'laneway:x:65532:65532:Laneway:/tmp:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'laneway:x:65532:' >> /etc/group \
    && mkdir /app
# Nothing is written at run time: bytecode is here already, the only writable folder is /tmp.
ENV PATH=/opt/laneway/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/tmp \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONFAULTHANDLER=1
WORKDIR /app
STOPSIGNAL SIGTERM

# ---------------------------------------------------------------------------------------------------------- runtime

FROM clean AS runtime
COPY --from=build-runtime /opt/laneway /opt/laneway
# Official Python images come without the bytecode of the standard library, and would compile it at each start:
# importing what the roles import writes just what is needed of it.
RUN PYTHONDONTWRITEBYTECODE= python3 -c 'import laneway.cli.main, laneway.roles.gateway, laneway.roles.poller, laneway.roles.worker'
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Laneway runtime" \
      org.opencontainers.image.description="Gateway, poller and workers of Laneway, a Kubernetes-native priority task queue" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 65532:65532
# Kubernetes has probes of its own; this is for whoever runs the image by itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["laneway", "health"]
# No init in between: each role handles the signals of process 1 and waits for its children.
ENTRYPOINT ["laneway"]
CMD ["--help"]

# --------------------------------------------------------------------------------------------------------- operator

FROM clean AS operator
COPY --from=build-operator /opt/laneway /opt/laneway
RUN PYTHONDONTWRITEBYTECODE= python3 -c 'import laneway_operator.main, kopf, kubernetes.aio.client, aiohttp.web'
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Laneway operator" \
      org.opencontainers.image.description="Operator and metrics adapter of Laneway, a Kubernetes-native priority task queue" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["laneway", "health", "http://127.0.0.1:8081/healthz"]
ENTRYPOINT ["laneway-operator"]
CMD ["run"]
