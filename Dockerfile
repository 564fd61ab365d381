# The coordinator, or a client: the same image, another command.
#   docker build -t tacit .
#   docker run -p 8750:8750 -v tacit:/data tacit            (a coordinator)
#   docker run -it -v hospital:/data tacit join INVITATION   (a data owner)
FROM python:3.11-slim AS build
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src ./src
RUN python -m venv /opt/tacit \
    && /opt/tacit/bin/pip install --no-cache-dir --constraint constraints.txt '.[deploy,dp]'

FROM python:3.11-slim
# libseccomp: the filter under which a client runs user code.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libseccomp2 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /data tacit
COPY --from=build /opt/tacit /opt/tacit
ENV PATH=/opt/tacit/bin:$PATH TACIT_HOME=/data
USER tacit
VOLUME /data
EXPOSE 8750
ENTRYPOINT ["tacit"]
CMD ["serve", "--host", "0.0.0.0"]
